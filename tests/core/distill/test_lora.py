"""Low-rank adapters: nothing at first, few numbers to train, a plain net again at the end."""

import pytest
import torch
from torch import nn

from fewstep.core.distill.lora import Lora, merged
from fewstep.core.errors import UsageError


def test_adapters_are_nothing_at_first_and_melt_into_the_net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 2, 1))
    x = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    adapted = Lora(rank=2).adapt(net)
    torch.testing.assert_close(adapted(x), net(x))
    trained = {name for name, value in adapted.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if name in trained:
                value.normal_(generator=torch.Generator().manual_seed(1))
    plain = merged(adapted)
    assert plain.state_dict().keys() == net.state_dict().keys()
    torch.testing.assert_close(plain(x), adapted(x), rtol=1e-4, atol=1e-4)
    assert (plain(x) - net(x)).abs().max() > 1e-2
    twin = Lora(rank=2).adapt(net)
    torch.testing.assert_close(
        dict(twin.named_parameters())["0.lora_A.default.weight"],
        dict(Lora(rank=2).adapt(net).named_parameters())["0.lora_A.default.weight"],
        rtol=0,
        atol=0,
    )
    some = Lora(rank=2, sites="2").adapt(net)
    assert {name.split(".")[0] for name, value in some.named_parameters() if value.requires_grad} == {"2"}


def test_mistakes_are_named():
    net = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="rank of at least 1"):
        Lora(rank=0).adapt(net)
    with pytest.raises(UsageError, match="no layer for low-rank adapters answers to 'nowhere'"):
        Lora(sites="nowhere").adapt(net)

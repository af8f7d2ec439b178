"""Skip-Tuning: factors reach the skips and nothing else, and leave no trace."""

import pytest
import torch
from torch import nn

from fewstep.core import guide
from fewstep.core.errors import UsageError


class Up(nn.Module):
    """Joins what comes from below with the skip."""

    def forward(self, x, skip):
        """x [batch, channel], skip alike or several of them."""
        return x + (skip if isinstance(skip, torch.Tensor) else sum(skip))


class Joined(nn.Module):
    """Takes both in one tensor."""

    def forward(self, x):
        """x [batch, channel]."""
        return x


class Net(nn.Module):
    """Two skips, the deeper one first."""

    def __init__(self, how="position"):
        super().__init__()
        self.up, self.how, self.joined = nn.ModuleList([Up(), Up()]), how, Joined()

    def forward(self, x):
        """x [batch, channel]."""
        if self.how == "joined":
            return self.joined(torch.cat([x, 10 * x], dim=1))
        if self.how == "keyword":
            return self.up[1](self.up[0](x, skip=10 * x), skip=100 * x)
        if self.how == "several":
            return self.up[1](self.up[0](x, (4 * x, 6 * x)), [100 * x])
        return self.up[1](self.up[0](x, 10 * x), 100 * x)


ONE = torch.ones(1, 2)


@pytest.mark.parametrize(("how", "argument"), [("position", 1), ("keyword", "skip"), ("several", 1)])
def test_only_the_skips_are_scaled_and_only_inside(how, argument):
    net = Net(how)
    with guide.skip_tuning(net, guide.rising(["up.0", "up.1"], 0.5), argument=argument) as tuned:
        assert torch.equal(tuned(ONE), 1 + 5 * ONE + 100)
    assert torch.equal(net(ONE), 111 * ONE)


def test_factors_of_one_change_nothing():
    net = Net()
    with guide.skip_tuning(net, {"up.0": 1.0, "up.1": 1.0}, argument=1):
        assert torch.equal(net(ONE), 111 * ONE)


def test_the_last_channels_of_a_joined_input():
    with guide.skip_tuning(Net("joined"), {"joined": 0.5}, argument=0, channels=2) as net:
        assert net(ONE).tolist() == [[1, 1, 5, 5]]


def test_hooks_are_removed_after_an_error():
    net = Net()
    with pytest.raises(RuntimeError, match="stop"), guide.skip_tuning(net, {"up.0": 0.5}, argument=1):
        raise RuntimeError("stop")
    assert torch.equal(net(ONE), 111 * ONE)


def test_factors_rise_linearly():
    assert guide.rising(["a", "b", "c"], 0.5) == {"a": 0.5, "b": 0.75, "c": 1.0}
    assert guide.rising(["a"], 0.6) == {"a": 0.6}


def test_wrong_names_and_arguments():
    net = Net()
    with pytest.raises(UsageError, match=r"no modules up\.7"), guide.skip_tuning(net, {"up.7": 0.5}, argument=1):
        pass
    for argument in (5, "res"):
        wrong = guide.skip_tuning(net, {"up.0": 0.5}, argument=argument)
        with pytest.raises(UsageError, match=r"up\.0 was called without argument"), wrong:
            net(ONE)

"""A student that is told more: it starts as its teacher, copies are whole, and every number reaches the answer."""

import copy

import pytest
import torch
from torch import nn

from fewstep.core import paths
from fewstep.core.distill.informed import Informed, Told, telling
from fewstep.core.errors import UsageError

PATH = paths.vp_linear()
NETS = {
    "points": (lambda: nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 3)), (5, 3)),
    "signals": (lambda: nn.Sequential(nn.Conv1d(2, 8, 3, padding=1), nn.SiLU(), nn.Conv1d(8, 2, 1)), (5, 2, 7)),
    "pictures": (lambda: nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 2, 1)), (5, 2, 6, 4)),
}


def student(kind, **told):
    make, shape = NETS[kind]
    what = Told(**told)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Informed(make(), inputs=what.inputs)
    return net, what, torch.randn(shape, generator=torch.Generator().manual_seed(1))


def disturb(net):
    with torch.no_grad():
        for part in net.project.values():
            part.weight.normal_(generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", NETS)
def test_it_starts_as_its_teacher_and_then_listens(kind):
    net, what, x = student(kind, end=True, guidance=(1.0, 7.0), latent=3)
    plain = net.net(x)
    say = lambda **more: net.told(what.numbers(PATH, x, **more))(x)  # noqa: E731
    torch.testing.assert_close(say(r=torch.tensor(0.3)), plain, rtol=0, atol=0)
    disturb(net)
    torch.testing.assert_close(net(x), plain, rtol=0, atol=0)
    base = say()
    for more in ({"r": torch.tensor(0.3)}, {"w": 4.0}, {"z": torch.ones(len(x), 3)}):
        assert (say(**more) - base).abs().max() > 1e-3
    one_item = torch.where(torch.arange(len(x)) == 1, 0.6, 0.0)
    changed = (say(r=one_item) - base).abs().flatten(1).amax(dim=1) > 1e-4
    assert changed.tolist() == [False, True, False, False, False]


def test_copies_and_stored_weights_are_whole():
    net, what, x = student("pictures", end=True)
    disturb(net)
    twin = copy.deepcopy(net)
    ask = lambda net: net.told(what.numbers(PATH, x, r=torch.tensor(0.5)))(x)  # noqa: E731
    before = ask(net)
    torch.testing.assert_close(ask(twin), before, rtol=0, atol=0)
    with torch.no_grad():
        for value in twin.parameters():
            value.zero_()
    torch.testing.assert_close(ask(net), before, rtol=0, atol=0)
    again = Informed(NETS["pictures"][0](), **net.config())
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(ask(again), before, rtol=0, atol=0)


def test_a_sampler_tells_where_its_step_ends():
    net, what, x = student("points", end=True)
    heard = []
    net.told = lambda numbers: heard.append(numbers) or net.net
    grid = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    denoise = telling(net, what, PATH, lambda net: lambda x, t: net(x), grid=grid)
    for t, r in ((1.0, 0.5), (0.5, 0.0)):
        denoise(x, torch.tensor(t))
        torch.testing.assert_close(heard[-1], what.numbers(PATH, x, r=torch.tensor(r)))
    denoise(x, torch.tensor(1.0), r=torch.tensor(0.2))
    torch.testing.assert_close(heard[-1], what.numbers(PATH, x, r=torch.tensor(0.2)))


def test_numbers_have_defaults_and_weights_their_range():
    x = torch.zeros(4, 2)
    what = Told(end=True, guidance=(2.0, 6.0))
    torch.testing.assert_close(what.numbers(PATH, x), torch.zeros(4, 2))
    torch.testing.assert_close(what.numbers(PATH, x, w=torch.full((4,), 6.0))[:, 1], torch.ones(4))
    w = what.weights(1000, torch.Generator().manual_seed(0))
    assert 2 <= w.min() < 2.1 < 5.9 < w.max() <= 6
    assert Told(end=True).weights(3, torch.Generator()) is None


def test_mistakes_are_named():
    net = NETS["points"][0]()
    with pytest.raises(UsageError, match="at least one number"):
        Informed(net, inputs=0)
    with pytest.raises(UsageError, match="no linear or convolutional layer to tell answers to 'nowhere'"):
        Informed(net, inputs=1, sites="nowhere")
    with pytest.raises(UsageError, match=r"is told \[batch, 2\]"):
        Informed(net, inputs=2).told(torch.zeros(3, 1))

"""Branches of U-Nets: with the same input the shallow part says what the whole net says, and less is computed."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep.core import caches, nfe, paths, sample, solvers, times
from fewstep.core.caches import Cache, Every, Schedule
from fewstep.core.caches.unets import layers
from fewstep.core.errors import UsageError
from fewstep.core.nn.unet import UNet


class Resnet(nn.Module):
    """Changes channels."""

    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, hidden, temb):
        """[B, inner, H, W], [B, 1] -> [B, outer, H, W]."""
        return torch.tanh(self.conv(hidden)) + temb[:, :, None, None]


class CrossTransformer(nn.Module):
    """Returns a tuple, as diffusers' does."""

    def forward(self, hidden, told=None):
        """hidden -> (hidden,)."""
        return (hidden * 1.5,)


class Down(nn.Module):
    """A block of diffusers' shape."""

    def __init__(self, inner, outer, down, attention):
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(inner, outer), Resnet(outer, outer)])
        self.attentions = nn.ModuleList([CrossTransformer(), CrossTransformer()]) if attention else None
        self.downsamplers = nn.ModuleList([nn.AvgPool2d(2)]) if down else None

    def forward(self, hidden_states, temb):
        """-> hidden, skips."""
        skips = ()
        for i, resnet in enumerate(self.resnets):
            hidden_states = resnet(hidden_states, temb)
            if self.attentions is not None:
                hidden_states = self.attentions[i](hidden_states)[0]
            skips += (hidden_states,)
        for down in self.downsamplers or []:
            hidden_states = down(hidden_states)
            skips += (hidden_states,)
        return hidden_states, skips


class Up(nn.Module):
    """Its counterpart."""

    def __init__(self, channels, outer, up):
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(c, outer) for c in channels])
        self.upsamplers = nn.ModuleList([nn.Upsample(scale_factor=2)]) if up else None

    def forward(self, hidden, skips, temb):
        """-> hidden."""
        for resnet in self.resnets:
            hidden = resnet(torch.cat([hidden, skips[-1]], 1), temb)
            skips = skips[:-1]
        for up in self.upsamplers or []:
            hidden = up(hidden)
        return hidden


class Foreign(nn.Module):
    """A U-Net with the names of diffusers' and two layers per block."""

    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(3, 4, 3, padding=1)
        self.down_blocks = nn.ModuleList([Down(4, 4, True, True), Down(4, 6, False, False)])
        self.mid_block = Resnet(6, 6)
        self.up_blocks = nn.ModuleList([Up([12, 12, 10], 6, True), Up([10, 8, 8], 4, False)])
        self.conv_out = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, sample, t):
        """[B, 3, H, W], [B] -> [B, 3, H, W]."""
        temb = t[:, None]
        h = self.conv_in(sample)
        skips = (h,)
        for block in self.down_blocks:
            h, more = block(hidden_states=h, temb=temb)
            skips += more
        h = self.mid_block(h, temb)
        for block in self.up_blocks:
            n = len(block.resnets)
            h, skips = block(h, skips[-n:], temb), skips[:-n]
        return self.conv_out(h)


def made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Foreign() if kind == "foreign" else UNet(3, 3, widths=(8, 16, 16), blocks=2, middle_attention=True)
        for value in net.parameters():
            nn.init.normal_(value, std=0.1)
    return net.eval()


KINDS = pytest.mark.parametrize("kind", ["ours", "foreign"])
BRANCHES = [("ours", b) for b in range(8)] + [("foreign", b) for b in range(5)]
X = torch.linspace(-1, 1, 2 * 3 * 16 * 16).sin().view(2, 3, 16, 16)


def flops(call):
    with FlopCounterMode(display=False) as counter:
        said = call()
    return said, counter.get_total_flops()


@KINDS
def test_every_branch_is_tested(kind):
    count = sum(k == kind for k, _ in BRANCHES)
    assert len(layers(made(kind)).up) - 1 == count == len(layers(made(kind)).down)
    with pytest.raises(UsageError, match=f"a branch from 0 to {count - 1} of this U-Net, got {count}"):
        caches.branch(count).resolve(made(kind))


@pytest.mark.parametrize(("kind", "level"), BRANCHES)
@torch.no_grad()
def test_shallow_is_full_for_the_same_input(kind, level):
    net, t = made(kind), torch.full((2,), 0.3)
    full, whole = flops(lambda: net(X, t))
    with caches.attach(net, caches.deepcache(level, every=2)), nfe.count():
        first = nfe.call(net, X, t)
        second, less = flops(lambda: nfe.call(net, X, t))
        other = nfe.call(net, X, t)
    assert torch.equal(first, full)
    assert torch.equal(other, full)
    torch.testing.assert_close(second, full, rtol=0, atol=1e-6)
    assert less < whole
    if level:
        assert less > _below(kind, level - 1), "a deeper branch computes more"


def _below(kind, level):
    net, t = made(kind), torch.full((2,), 0.3)
    with caches.attach(net, caches.deepcache(level, every=2)), nfe.count():
        nfe.call(net, X, t)
        return flops(lambda: nfe.call(net, X, t))[1]


@KINDS
@torch.no_grad()
def test_a_predicted_row_of_the_encoder_is_told_the_time_and_not_the_state(kind):
    net, t, late = made(kind), torch.full((2,), 0.3), torch.full((2,), 0.9)
    with caches.attach(net, Cache(caches.encoder(), Every(3))), nfe.count():
        first = nfe.call(net, X, t)
        again = nfe.call(net, X * 2, t)
        later = nfe.call(net, X * 2, late)
    torch.testing.assert_close(again, first, rtol=0, atol=1e-6)
    assert not torch.allclose(later, first, atol=1e-4)


@KINDS
@pytest.mark.parametrize("most", [None, 2])
@torch.no_grad()
def test_the_batched_decoder_says_what_the_serial_one_says(kind, most):
    net, rows = made(kind), Schedule(7, (0, 1, 4))
    told = [torch.tensor(1 - 0.1 * row) for row in range(7)]
    states = [X * (1 + row) for row in range(7)]
    calls = []
    with caches.attach(net, Cache(caches.encoder(), rows)) as attached, nfe.count():
        serial = [nfe.call(lambda x, t: attached(x, t.expand(2)), x, t) for x, t in zip(states, told, strict=True)]
    with caches.attach(net, Cache(caches.encoder(), rows)) as attached, nfe.count():
        ahead = caches.Ahead(attached, lambda row: told[row], most=most)
        net.register_forward_pre_hook(lambda *_: calls.append(1))
        batched = [nfe.call(lambda x, t: ahead(x, t.expand(2)), x, t) for x, t in zip(states, told, strict=True)]
    for one, other in zip(serial, batched, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_ahead_keeps_branches_apart_and_calls_the_decoder_once():
    net, rows = made("ours"), Schedule(5, (0,))
    told, inner = [torch.tensor(1 - 0.1 * row) for row in range(5)], []
    with caches.attach(net, Cache(caches.encoder(), rows)) as attached, nfe.count():
        ahead = caches.Ahead(attached, lambda row: told[row])
        last = net.leave.register_forward_pre_hook(lambda *_: inner.append(1))

        def both(x, t):
            return torch.stack([ahead(x, t.expand(2)), ahead(-x, t.expand(2))])

        found = [nfe.call(both, X, t) for t in told]
        last.remove()
    assert len(inner) == 4, "two branches, each with one full row and one call for the other four rows"
    assert not torch.allclose(found[3][0], found[3][1], atol=1e-4)


def test_what_is_no_unet():
    with pytest.raises(UsageError, match="Linear holds no U-Net of fewstep or diffusers"):
        caches.branch(0).resolve(nn.Linear(2, 2))
    odd = Foreign()
    odd.down_blocks[0].skip_conv = nn.Identity()
    with pytest.raises(UsageError, match="skip_conv"):
        caches.encoder().resolve(odd)


def test_ahead_needs_an_encoder():
    below, refused = Cache(caches.branch(0), Schedule(3, (0,))), r"of the scope caches\.encoder\(\) and a Schedule"
    with caches.attach(made("ours"), below) as attached, pytest.raises(UsageError, match=refused):
        caches.Ahead(attached, lambda row: torch.tensor(0.0))
    with caches.attach(made("ours"), caches.faster_diffusion(50)) as attached:
        assert attached.caches[0].policy.refresh == (0, 1, 2, 3, 5, 10, 15, 25, 35)
        with pytest.raises(UsageError, match="at least one row per call, got 0"):
            caches.Ahead(attached, lambda row: torch.tensor(0.0), most=0)


def test_prior_noise_is_added_in_the_last_half():
    def denoise(x, t):
        return torch.zeros_like(x)

    path, start = paths.rectified_flow(), torch.ones(1, 2)
    steps = {"times": times.uniform(path, 4), "solver": solvers.ddim()}
    plain, seen = [], []
    sample(denoise, path, x=start, callback=lambda info: plain.append(info.x.clone()), **steps)
    add = caches.prior_noise(start, alpha=0.1, below=0.6)

    def callback(info):
        seen.append((float(info.t), info.x.clone()))
        return add(info)

    end = sample(denoise, path, x=start, callback=callback, **steps).x
    torch.testing.assert_close(seen[1][1], plain[1])
    torch.testing.assert_close(seen[2][1], (plain[1] + 0.1 * start) / 2)  # at t = 0.25, after one addition at 0.5
    torch.testing.assert_close(end, torch.zeros(1, 2))

import pytest
import torch
from torch.nn import functional

from fewstep.audio.convert.sgmse import names
from fewstep.audio.models.ncsnpp import SIZES, NCSNpp, double, halve

SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (8,), "bins": 16, "frames": 4}


def small(**options) -> NCSNpp:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = NCSNpp(**SMALL, **options)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def spectra(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "size, signals, millions",
    [("65M", 2, 65.59), ("28M", 3, 27.78), ("28M", 1, 27.34), ("12M", 3, 11.69), ("6M", 3, 5.23)],
)
def test_sizes_are_the_published_ones(size, signals, millions):
    with torch.device("meta"):
        net = NCSNpp(size=size, signals=signals, told=signals > 1)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("frames", [1, 4, 7, 12])
def test_any_length(frames):
    net, x = small(), spectra(2, 16, frames)
    said = net(x, torch.tensor([0.3, 1.0]), x[:, None])
    assert said.shape == x.shape
    assert torch.isfinite(torch.view_as_real(said)).all()


def test_a_score_is_divided_by_the_time_and_an_estimate_is_not():
    x, t = spectra(1, 16, 4), torch.tensor([0.25])
    score, clean = small(), small(says="x0")
    clean.load_state_dict(score.state_dict())
    for net in (score, clean):
        net.leave.bias.data.zero_()
    torch.testing.assert_close(score(x, t, x[:, None]), -4 * clean(x, t, x[:, None]))


def fir(x, up):
    """The resampling written out: zeros between samples, one full convolution, every second sample."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps)[None, None]
    flat = x.flatten(0, 1)[:, None]
    if up:
        stuffed = torch.zeros(*flat.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
        stuffed[..., ::2, ::2] = flat
        out = functional.conv2d(functional.pad(stuffed, (2, 1, 2, 1)), 4 * kernel)
    else:
        out = functional.conv2d(functional.pad(flat, (1, 1, 1, 1)), kernel)[..., ::2, ::2]
    return out[:, 0].unflatten(0, x.shape[:2])


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (1, 1, 2, 2)])
def test_resampling_against_the_filter_written_out(shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(halve(x), fir(x, up=False))
    torch.testing.assert_close(double(x), fir(x, up=True))


def test_every_tensor_has_one_published_name():
    net = small()
    pairs = list(names(net))
    assert sorted(ours for ours, _ in pairs) == sorted(net.state_dict())
    published = [name for _, group in pairs for name in group]
    assert len(set(published)) == len(published)


def test_names_of_the_large_net():
    """The places of some parts in the published numbering, read off the published class."""
    with torch.device("meta"):
        net = NCSNpp(**SIZES["65M"])
    known = dict(names(net))
    assert known["enter.weight"] == ("all_modules.3.weight",)
    assert known["down.0.resample.first.weight"] == ("all_modules.6.Conv_0.weight",)
    assert known["down.0.join.weight"] == ("all_modules.7.Conv_0.weight",)
    assert known["leave.bias"] == ("output_layer.bias",)
    assert len(known["down.4.attention.0.ask.weight"]) == 3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": "7M"}, "expected a size out of 65M"),
        ({"says": "eps"}, "expected says out of"),
        ({"bins": 255}, "divisible by"),
        ({"width": 6}, "divisible by 4"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        NCSNpp(**SMALL | options)


def test_bad_input():
    net, x = small(), spectra(1, 16, 4)
    with pytest.raises(ValueError, match="expected 2 spectra of 16 bins"):
        net(x, torch.ones(1))
    with pytest.raises(ValueError, match="expected times"):
        net(x, None, x[:, None])
    with pytest.raises(ValueError, match="expected no time"):
        small(told=False, signals=1)(x, torch.ones(1))

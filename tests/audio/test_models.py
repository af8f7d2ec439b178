import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewstep.audio.mel import MelSpec, mel_spectrogram
from fewstep.audio.models.condition import Control, Prosody, expand, to_frames
from fewstep.audio.models.discriminators import Discriminators
from fewstep.audio.models.generate import generate
from fewstep.audio.models.griffin_lim import GriffinLim
from fewstep.audio.models.prodiff import ProDiff
from fewstep.audio.models.vocos import InverseSTFT, Vocos
from fewstep.core import paths

SPEC = MelSpec()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_expand_repeats_each_token(durations):
    x = noise(1, len(durations), 3)
    out, mask = expand(x, torch.tensor([durations]))
    wanted = x[0].repeat_interleave(torch.tensor(durations), dim=0)
    assert int(mask.sum()) == sum(durations)
    torch.testing.assert_close(out[0, : len(wanted)], wanted)


@given(
    st.lists(st.floats(0.0, 12.0, allow_subnormal=False), min_size=1, max_size=30),
    st.floats(0.25, 4.0, allow_subnormal=False),
)
def test_rounding_never_adds_up(lengths, speed):
    """Every token starts within half a frame of where the real-valued durations put it."""
    exact = torch.tensor([lengths], dtype=torch.float64)
    frames = to_frames((exact + 1).log(), torch.ones_like(exact), speed)
    drift = frames.cumsum(1) - exact.cumsum(1) / speed
    assert drift.abs().max() <= 0.5 + 1e-9
    assert frames.min() >= 0


def test_padding_changes_nothing(net):
    """A batch of two sentences gives what each of them gives alone."""
    long, short = (
        torch.randint(1, 79, (1, 12), generator=torch.Generator().manual_seed(3)),
        torch.tensor([[8, 20, 3, 9]]),
    )
    batch = torch.zeros(2, 12, dtype=torch.long)
    batch[0], batch[1, :4] = long, short
    both = net.condition(batch)
    for row, tokens in enumerate((long, short)):
        alone = net.condition(tokens)
        frames = alone.frames.shape[-1]
        assert int(both.mask[row].sum()) == frames
        torch.testing.assert_close(both.frames[row, :, :frames], alone.frames[0], rtol=1e-4, atol=1e-5)
        x, t = noise(1, 80, frames, seed=row), torch.tensor([0.5])
        padded = torch.zeros(2, 80, both.frames.shape[-1])
        padded[row, :, :frames] = x[0]
        ours = net(padded, torch.full((2,), 0.5), both)[row, :, :frames]
        torch.testing.assert_close(ours, net(x, t, alone)[0], rtol=1e-4, atol=1e-5)


def test_controls_do_what_they_say(net):
    tokens = torch.randint(1, 79, (1, 30), generator=torch.Generator().manual_seed(3))
    plain = net.condition(tokens)
    fast = net.condition(tokens, control=Control(speed=2.0))
    assert fast.frames.shape[-1] == pytest.approx(plain.frames.shape[-1] / 2, abs=1)
    high = net.condition(tokens, control=Control(pitch=1.5))
    torch.testing.assert_close(high.pitch, plain.pitch + 1.5)
    assert not torch.allclose(high.frames, plain.frames)


def test_recorded_prosody_is_used(net):
    tokens = torch.tensor([[1, 20, 30, 4]])
    durations = torch.tensor([[2, 5, 0, 3]])
    prosody = Prosody(durations, torch.zeros(1, 10), torch.ones(1, 10), torch.zeros(1, 10))
    cond = net.condition(tokens, prosody)
    assert cond.frames.shape[-1] == 10
    assert torch.equal(cond.durations, durations)


def test_the_schedule_of_the_paper_is_the_linear_vp_path():
    """ProDiff's beta table for T steps has exactly the marginals of vp_linear at t = i / T."""
    beta_min, beta_max, n = 0.1, 40.0, 5
    i = np.arange(1, n + 1)
    betas = 1 - np.exp(-beta_min / n - 0.5 * (beta_max - beta_min) * (2 * i - 1) / n**2)
    a, _, s = paths.vp_linear(beta_min, beta_max).coefficients(torch.from_numpy(i / n))
    np.testing.assert_allclose(a.numpy(), np.sqrt(np.cumprod(1 - betas)), rtol=1e-12)
    np.testing.assert_allclose(s.numpy(), np.sqrt(1 - np.cumprod(1 - betas)), rtol=1e-12)


def test_prepared_conditions_give_the_same_answer(net):
    cond = net.condition(torch.tensor([[1, 20, 30, 4]]))
    x, t = noise(1, 80, cond.frames.shape[-1]), torch.tensor(0.3)
    assert torch.equal(net(x, t, cond), net(x, t, net.prepare(cond)))


def test_one_step_is_the_net_itself(net):
    path = paths.vp_linear()
    cond = net.condition(torch.tensor([[1, 20, 30, 4]]))
    seen = []
    handle = net.denoiser.register_forward_hook(lambda module, args, out: seen.append((args, out)))
    x0, nfe = generate(net, path, cond, steps=1, seed=5)
    handle.remove()
    assert nfe == len(seen) == 1
    torch.testing.assert_close(x0, seen[0][1])
    assert float(seen[0][0][1][0]) == pytest.approx(1.0)


def test_stopping_after_k_calls_gives_the_estimate_at_that_point(net):
    path = paths.vp_linear()
    cond = net.condition(torch.tensor([[1, 20, 30, 4]]))
    seen = []
    handle = net.denoiser.register_forward_hook(lambda module, args, out: seen.append(out))
    x0, nfe = generate(net, path, cond, steps=4, seed=5, stop=2)
    handle.remove()
    assert nfe == len(seen) == 2
    torch.testing.assert_close(x0, seen[1])


def test_config_rebuilds_the_same_net(net, vocoder):
    again = ProDiff(**net.config())
    again.load_state_dict(net.state_dict())
    assert again.config() == net.config()
    Vocos(**vocoder.config()).load_state_dict(vocoder.state_dict())


def test_normalise_round_trip(net):
    mel = noise(1, 80, 7)
    torch.testing.assert_close(net.denormalise(net.normalise(mel)), mel)
    assert net.normalise(torch.tensor(-5.0)) == 0


def test_the_inverse_stft_inverts_our_stft():
    wav = noise(2, 256 * 20)
    padded = torch.nn.functional.pad(wav, (384, 384), mode="reflect")
    stft = torch.stft(padded, 1024, 256, window=torch.hann_window(1024), center=False, return_complex=True)
    torch.testing.assert_close(InverseSTFT(1024, 256)(stft), wav, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 37])
def test_frames_become_hops(vocoder, frames):
    for made in (vocoder, GriffinLim(SPEC)):
        wav = made(noise(1, 80, frames) - 5)
        assert wav.shape == (1, frames * SPEC.hop)
        assert torch.isfinite(wav).all()


def test_refining_brings_the_mel_nearer(vocoder):
    time = torch.arange(256 * 60) / SPEC.sample_rate
    wav = sum(0.1 * torch.sin(2 * math.pi * f * time) for f in (220, 440, 1500, 3000))[None]
    mel = mel_spectrogram(wav, SPEC)
    loud = mel > mel.max() - 3
    errors = []
    for iterations in (0, 2, 20):
        vocoder.refine = iterations
        errors.append((mel_spectrogram(vocoder(mel), SPEC) - mel)[loud].abs().mean().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.3


def test_refining_is_for_listening_only(vocoder):
    mel = noise(1, 80, 20) - 5
    plain = vocoder(mel)
    vocoder.refine = 3
    assert not torch.allclose(vocoder(mel), plain)
    torch.testing.assert_close(vocoder.train()(mel), plain)
    with pytest.raises(ValueError, match="refine is a number of iterations"):
        Vocos(refine=-1)


def test_griffin_lim_keeps_the_spectrogram():
    time = torch.arange(256 * 60) / SPEC.sample_rate
    wav = sum(0.1 * torch.sin(2 * math.pi * f * time) for f in (220, 440, 1500, 3000))[None]
    mel = mel_spectrogram(wav, SPEC)
    again = mel_spectrogram(GriffinLim(SPEC)(mel), SPEC)
    loud = mel > mel.max() - 3
    assert (again - mel)[loud].abs().mean() < 0.25


def test_discriminators_see_the_whole_wave():
    net = Discriminators(period_channels=2, resolution_channels=2)
    wav = noise(1, 8192).requires_grad_()
    for score, features in net(wav):
        assert len(features) >= 5
        (gradient,) = torch.autograd.grad(score.square().sum(), wav, retain_graph=True)
        assert (gradient.abs() > 0).float().mean() > 0.9

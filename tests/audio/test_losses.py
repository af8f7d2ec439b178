import pytest
import torch

from fewstep.audio import losses
from fewstep.audio.models.tts_losses import duration_losses, masked_mean, mel_losses, ssim
from fewstep.audio.text.symbols import INDEX


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_spectral_distances_are_zero_at_the_target_and_grow():
    wav = noise(2, 8192) * 0.1
    for distance in (losses.stft_distance, lambda a, b: losses.mel_distance(a, b, 22050)):
        assert distance(wav, wav) == 0
        near, far = (distance(wav + k * noise(2, 8192, seed=1) * 0.1, wav) for k in (0.1, 1.0))
        assert 0 < near < far


def test_hinge_losses():
    good, bad = [(torch.full((1, 3), 2.0), [])], [(torch.full((1, 3), -2.0), [])]
    assert losses.discriminator_loss(good, bad) == 0
    assert losses.discriminator_loss(bad, good) == 6
    assert losses.adversarial_loss(good) == 0
    assert losses.adversarial_loss(bad) == 3


def test_feature_distance_is_relative():
    real = [(torch.zeros(1), [noise(2, 3), 100 * noise(2, 3, seed=1)])]
    fake = [(torch.zeros(1), [1.1 * f for f in real[0][1]])]
    assert losses.feature_distance(real, real) == 0
    assert losses.feature_distance(real, fake) == pytest.approx(0.1, rel=1e-4)


def test_ssim_is_one_only_for_equal_images():
    x = noise(1, 20, 30) + 3
    torch.testing.assert_close(ssim(x, x, data_range=6.0), torch.ones(1, 20, 30))
    assert ssim(x, noise(1, 20, 30, seed=1) + 3, data_range=6.0).mean() < 0.4


def test_mel_losses_ignore_padding():
    x, y = noise(2, 80, 30), noise(2, 80, 30, seed=1)
    mask = torch.ones(2, 1, 30)
    mask[1, :, 20:] = 0
    parts = mel_losses(x, y, mask)
    junk = torch.where(mask.bool(), x, torch.full_like(x, 7.0))
    for name, value in mel_losses(junk, y, mask).items():
        torch.testing.assert_close(value, parts[name])
    assert all(v == pytest.approx(0, abs=1e-6) for v in mel_losses(x, x, mask).values())


def test_duration_losses_vanish_at_the_truth():
    tokens = torch.tensor([[INDEX["^"], 20, 30, INDEX[" "], 40, INDEX["."]], [INDEX["^"], 20, INDEX["."], 0, 0, 0]])
    durations = torch.tensor([[1, 5, 7, 0, 9, 2], [0, 8, 3, 0, 0, 0]])
    exact = (durations + 1).float().log()
    assert all(v == pytest.approx(0, abs=1e-10) for v in duration_losses(exact, durations, tokens).values())
    # moving a frame from one phone to its neighbour changes the phone term, but not the word and sentence terms
    moved = durations + torch.tensor([[0, 1, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    parts = duration_losses((moved + 1).float().log(), durations, tokens)
    assert parts["phone"] > 1e-5
    assert parts["word"] == pytest.approx(0, abs=1e-10)
    assert parts["sentence"] == pytest.approx(0, abs=1e-10)
    # moving it to another word changes the word term as well
    moved = durations + torch.tensor([[0, 1, 0, 0, -1, 0], [0, 0, 0, 0, 0, 0]])
    parts = duration_losses((moved + 1).float().log(), durations, tokens)
    assert parts["word"] > 1e-5
    assert parts["sentence"] == pytest.approx(0, abs=1e-10)


def test_masked_mean():
    values, mask = torch.tensor([[1.0, 2.0, 30.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert masked_mean(values, mask) == 1.5

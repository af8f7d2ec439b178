"""Metrics against scikit-image and against what must hold: equal pictures, order, ranges, shapes."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter

from fewstep.core.errors import UsageError
from fewstep.restoration import metrics
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.metrics.lpips import LAYERS, Lpips
from fewstep.restoration.metrics.niqe import features, fit, niqe, shipped


def photo(size=192, seed=0):
    """Something with edges and textures on many scales, uint8 [size, size, 3]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size, 3))
    for sigma in (1, 2, 4, 8, 16):
        layer = gaussian_filter(rng.standard_normal((size, size, 3)), (sigma, sigma, 0.8))
        total += layer / layer.std() * sigma
    total = np.where(total > 8, total + 20, total)
    return np.clip((total - total.min()) / np.ptp(total) * 255, 0, 255).astype(np.uint8)


def noisy(x, sigma, seed=1):
    return np.clip(x + np.random.default_rng(seed).normal(0, sigma, x.shape), 0, 255)


@pytest.mark.parametrize("gray", [False, True])
def test_against_scikit_image(gray):
    from skimage import metrics as peer

    a = photo()[..., 0] if gray else photo()
    b = noisy(a, 12)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = peer.structural_similarity(a.astype(float), b, channel_axis=None if gray else 2, **options)
    assert metrics.ssim(a, b, data_range=255) == pytest.approx(expected, abs=1e-9)
    assert metrics.psnr(a, b, data_range=255) == pytest.approx(
        peer.peak_signal_noise_ratio(a.astype(float), b, data_range=255), abs=1e-9
    )


def test_luma_against_scikit_image():
    from skimage.color import rgb2ycbcr

    assert np.allclose(metrics.luma(photo(), data_range=255), rgb2ycbcr(photo())[..., 0])
    assert np.allclose(metrics.luma(photo() / 255, data_range=1) * 255, metrics.luma(photo(), data_range=255))


@pytest.mark.parametrize(
    "metric, best", [(metrics.ssim, 1), (metrics.ms_ssim, 1), (metrics.gmsd, 0), (metrics.psnr, float("inf"))]
)
def test_equal_pictures_are_best_and_more_noise_is_worse(metric, best):
    x = photo()
    assert metric(x, x, data_range=255) == pytest.approx(best)
    sign = -1 if metric is metrics.gmsd else 1
    values = [sign * metric(noisy(x, sigma), x, data_range=255) for sigma in (2, 10, 30)]
    assert values == sorted(values, reverse=True)
    scaled = metric(noisy(x, 10) / 255, x / 255, data_range=1)
    assert scaled == pytest.approx(metric(noisy(x, 10), x, data_range=255), rel=1e-6)
    with pytest.raises(UsageError, match="two pictures of one shape"):
        metric(x, x[1:], data_range=255)
    with pytest.raises(UsageError, match="rows, columns"):
        metric(x[..., :2], x[..., :2], data_range=255)


def test_hf_ratio():
    x = photo().astype(float)
    assert metrics.hf_ratio(x, x, data_range=255) == pytest.approx(1)
    assert metrics.hf_ratio(100 + (x - 100) * 0.5, x, data_range=255) == pytest.approx(0.25)
    assert metrics.hf_ratio(gaussian_filter(x, (1, 1, 0)), x, data_range=255) < 0.3
    assert metrics.hf_ratio(noisy(x, 9), x, data_range=255) > 1
    with pytest.raises(UsageError, match="no detail"):
        metrics.hf_ratio(x, np.full_like(x, 9), data_range=255)


def test_lr_consistency():
    x = photo().astype(float)
    lq = imresize(torch.from_numpy(x.transpose(2, 0, 1).copy()), 0.25).numpy().transpose(1, 2, 0)
    assert metrics.lr_consistency(x, lq, data_range=255) > 200
    assert metrics.lr_consistency(x, np.rint(lq), data_range=255) == pytest.approx(58.9, abs=1)  # rounding's
    with pytest.raises(UsageError, match="whole multiple"):
        metrics.lr_consistency(x[1:], lq, data_range=255)


def test_seam_index():
    flat = np.random.default_rng(0).normal(0, 1, (256, 256, 3))
    assert metrics.seam_index(flat, tile=32) == pytest.approx(1, abs=0.02)
    tiles = flat + np.kron(np.random.default_rng(1).normal(0, 3, (8, 8, 3)), np.ones((32, 32, 1)))
    assert metrics.seam_index(tiles, tile=32) > 1.5
    assert metrics.seam_index(tiles, tile=31) == pytest.approx(1, abs=0.1)
    with pytest.raises(UsageError, match="no line of tiles"):
        metrics.seam_index(flat, tile=256)


def test_niqe_tells_photographs_from_blurred_and_noisy_ones():
    from skimage import data

    x = data.astronaut()
    plain = niqe(x, data_range=255)
    assert niqe(gaussian_filter(x.astype(float), (2, 2, 0)), data_range=255) > plain + 1
    assert niqe(noisy(x, 25), data_range=255) > plain + 1
    assert niqe(x / 255, data_range=1) == pytest.approx(plain, rel=1e-6)
    mean, covariance = shipped()
    assert mean.shape == (36,)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert 1 < mean[0] < 5  # shape of the normalised luma


def test_niqe_fits_its_own_pictures():
    pictures = [photo(288, seed) for seed in range(8)]
    own = fit(pictures, data_range=255)
    assert niqe(pictures[0], data_range=255, pristine=own) < niqe(pictures[0], data_range=255)
    found, sharpness = features(pictures[0], data_range=255)
    assert found.shape == (9, 36)
    assert sharpness.shape == (9,)


def test_niqe_refuses_what_it_is_not_defined_for():
    with pytest.raises(UsageError, match="at least 96 pixels"):
        niqe(photo(90), data_range=255)
    with pytest.raises(UsageError, match="not defined for a flat picture"):
        niqe(np.full((96, 96), 7), data_range=255)


def test_small_pictures_are_told():
    x = photo(10)
    for metric, match in ((metrics.ssim, "at least 11"), (metrics.ms_ssim, "more than 160")):
        with pytest.raises(UsageError, match=match):
            metric(x, x, data_range=255)
    with pytest.raises(UsageError, match="at least 6"):
        metrics.gmsd(x[:4], x[:4], data_range=255)
    with pytest.raises(UsageError, match="at least 3"):
        metrics.hf_ratio(x[:2], x[:2], data_range=255)
    with pytest.raises(UsageError, match="cannot crop 5"):
        metrics.cropped(x, 5)
    assert metrics.cropped(x, 2).shape == (6, 6, 3)


def alexnet():
    g = torch.Generator().manual_seed(0)
    state = {}
    for k, (number, inside, outside, kernel, _, _) in enumerate(LAYERS):
        state[f"features.{number}.weight"] = torch.randn(outside, inside, kernel, kernel, generator=g) * 0.02
        state[f"features.{number}.bias"] = torch.zeros(outside)
        state[f"lin{k}.model.1.weight"] = torch.rand(1, outside, 1, 1, generator=g)
    return state


def test_lpips_with_weights_of_the_user(tmp_path):
    state = alexnet()
    save_file({k: v for k, v in state.items() if "features" in k}, tmp_path / "alex.safetensors")
    torch.save({k: v for k, v in state.items() if "lin" in k}, tmp_path / "heads.pth")
    distance = Lpips.load([tmp_path / "alex.safetensors", tmp_path / "heads.pth"])
    x = photo(64)
    assert distance(x, x, data_range=255) == 0
    values = [distance(noisy(x, sigma), x, data_range=255) for sigma in (2, 10, 40)]
    assert 0 < values[0] < values[1] < values[2]
    with pytest.raises(UsageError, match="at least 35 pixels"):
        distance(photo(20), photo(20), data_range=255)
    with pytest.raises(UsageError, match="no such file"):
        Lpips.load([tmp_path / "none.pth"])
    with pytest.raises(UsageError, match="lin0.model.1.weight is not in the files"):
        Lpips.load([tmp_path / "alex.safetensors"])

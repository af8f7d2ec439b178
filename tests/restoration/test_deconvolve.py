"""A known blur taken out: the step towards the measurement is the minimiser, borders bring nothing in, noise is
measured, and every kind of picture and kernel goes through."""

import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.restoration import Restorer
from fewstep.restoration.deconvolve import LEAST_NOISE, START, TRUST, deconvolved, kernel_of, noise_of
from fewstep.restoration.degrade.kernels import blurred, motion
from fewstep.restoration.model import Restoration


def scene(rows=40, columns=44, slow=1.0):
    y, x = torch.meshgrid(torch.arange(rows) / slow, torch.arange(columns) / slow, indexing="ij")
    waves = torch.stack([(x / (4 + c)).sin() * (y / (5 - c)).cos() for c in range(3)]) * 0.5
    waves[:, rows // 3 : rows // 2, columns // 3 :] -= 0.4
    return waves


def crooked(size=7):
    kernel = torch.zeros(size, size, dtype=torch.float64)
    kernel[1, 1:5], kernel[1:6, 4], kernel[3, 3] = 1, 2, 3
    return kernel_of(kernel)


def psnr(a, b):
    return float(-10 * torch.log10((a - b).square().mean() / 4))


def as_told(x):
    return x


def test_the_first_step_is_the_minimiser():
    rows, columns, sigma, kernel = 9, 10, 0.1, crooked(5)
    y = torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    met = []
    deconvolved(lambda x: (met.append(x), x)[1], y, kernel, noise=sigma, steps=1)
    canvas = met[0]
    high, wide = canvas.shape[-2:]
    x0 = torch.nn.functional.pad(y, (5, wide - columns - 5, 5, high - rows - 5), mode="reflect")
    A = torch.zeros(rows * columns, high * wide, dtype=torch.float64)
    for r in range(rows):
        for c in range(columns):
            for i in range(5):
                for j in range(5):
                    A[r * columns + c, (r + 5 + 2 - i) * wide + c + 5 + 2 - j] = kernel[i, j]
    damping = sigma**2 / (TRUST * START**2)
    start = x0.flatten(2).double()[0].T
    right = A.T @ (y.flatten(2).double()[0].T - A @ start)
    wanted = start + torch.linalg.solve(A.T @ A + damping * torch.eye(high * wide), right)
    assert torch.allclose(canvas.flatten(2)[0].T.double(), wanted, atol=1e-5)


def test_a_blur_without_noise_comes_out_up_to_the_border():
    wide, kernel = scene(60, 64), crooked()
    x, seen = (part[:, 5:45, 6:50] for part in (wide, blurred(wide, kernel)))
    made = deconvolved(as_told, seen[None], kernel, noise=LEAST_NOISE)[0]
    edge = torch.ones(x.shape[-2:], dtype=torch.bool)
    edge[3:-3, 3:-3] = False
    assert psnr(made, x) > psnr(seen, x) + 5
    assert psnr(made[:, edge], x[:, edge]) > psnr(seen[:, edge], x[:, edge])


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT], ids=["lr", "ud", "t"])
def test_turned_pictures_with_turned_kernels_are_turned(turn):
    x, kernel = scene(40, 40), crooked()
    seen = blurred(x, kernel)[None]
    plain = deconvolved(as_told, seen, kernel, noise=0.02)
    assert torch.allclose(deconvolved(as_told, turn(seen), turn(kernel), noise=0.02), turn(plain), atol=2e-5)


def test_a_point_for_a_kernel_leaves_what_the_denoiser_leaves():
    seen = scene()[None]
    assert torch.allclose(deconvolved(as_told, seen, kernel_of(torch.ones(1, 1))), seen, atol=1e-6)


def test_calls_are_counted_and_told():
    calls, told = [], []
    deconvolved(
        lambda x: (calls.append(x.shape), x)[1], scene()[None], crooked(), steps=4, multiple=6, progress=told.append
    )
    assert len(calls) == 4
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert all(side % 6 == 0 for shape in calls for side in shape[-2:])


@pytest.mark.parametrize("sigma", [1.0, 2.55, 7.65, 20.0])
def test_noise_is_measured_under_a_blur_and_rounding(sigma):
    seen = blurred(scene(200, 200, slow=6), motion(torch.Generator().manual_seed(3)))
    noisy = seen + sigma / 127.5 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(4))
    levels = ((noisy + 1) * 127.5).round()
    assert noise_of(levels) == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.05)


def test_noise_of_nothing():
    assert noise_of(torch.zeros(1, 3, 1, 7)) == 0
    assert noise_of(torch.full((1, 3, 8, 8), 0.3)) == 0


def test_kernels():
    made = kernel_of(torch.tensor([[0, 2, 2, 0]]))
    assert made.tolist() == [[0, 0.5, 0.5, 0, 0]]
    for bad in (
        torch.zeros(3, 3),
        torch.tensor([[1.0, -0.1]]),
        torch.tensor([[torch.nan]]),
        torch.ones(3),
        torch.ones(1, 256),
    ):
        with pytest.raises(UsageError, match="expected a kernel of"):
            kernel_of(bad)


def restorer(task="denoise", scale=1):
    return Restorer(Restoration.debug(task, scale))


def test_kinds_of_pictures_and_kernels():
    values = ((scene() + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    kernel = crooked().numpy()
    done = restorer().restore(values, kernel=kernel)
    assert done.nfe == 3
    assert done.image.dtype == np.uint8
    assert done.image.shape == values.shape
    picture = np.rint(kernel / kernel.max() * 255).astype(np.uint8)
    near = restorer()(values, kernel=np.repeat(picture[:, :, None], 3, 2))
    assert np.abs(near.astype(int) - done.image).max() <= 12  # 8 bits of a kernel
    assert np.array_equal(restorer()(values, kernel=picture / 255.0), near)
    gray = restorer()((values[:, :, 0] * np.uint16(257)), kernel=kernel, steps=1, noise=2.55)
    assert gray.dtype == np.uint16
    assert gray.shape == values.shape[:2]
    clear = np.concatenate([values, values[:, :, :1]], 2)
    assert np.array_equal(restorer()(clear, kernel=kernel)[:, :, 3], values[:, :, 0])
    assert np.array_equal(restorer()(values, kernel=kernel, tile=16), done.image)


@pytest.mark.parametrize(
    "task, options, match",
    [
        ("deblur", {"kernel": np.ones((3, 3))}, 'load "denoise"'),
        ("denoise", {"noise": 2.0}, "noise is told beside a kernel"),
        ("denoise", {"kernel": np.ones((3, 3)), "noise": 256}, "noise is from 0 to 255"),
        ("denoise", {"kernel": np.ones((3, 3)), "samples": 2}, "one answer"),
        ("denoise", {"kernel": np.ones((3, 3)), "mode": "sample"}, "one answer"),
        ("denoise", {"kernel": np.ones((3, 3)), "fidelity": 0.5}, "one answer"),
        ("denoise", {"kernel": np.ones((3, 3)), "steps": 0}, "steps"),
        ("denoise", {"kernel": np.ones((51, 3))}, "3 x 51 pixels, the picture fewer: 44 x 40"),
        ("denoise", {"kernel": np.ones((3, 3)) * 1j}, "complex"),
        ("denoise", {"kernel": np.ones((2, 3, 3, 3))}, "expected an array"),
    ],
)
def test_wrong_options(task, options, match):
    values = np.zeros((40, 44, 3), np.uint8)
    with pytest.raises(UsageError, match=match):
        restorer(task)(values, **options)


def test_the_model_that_ships_is_far_above_the_blurred_picture():
    pytest.importorskip("skimage")
    from pathlib import Path

    import skimage.data
    from PIL import Image

    with Image.open(Path(skimage.data.__file__).parent / "camera.png") as opened:
        good = np.array(opened)[140:300, 150:310]  # not trained on
    kernel = motion(torch.Generator().manual_seed(5))
    wide = torch.from_numpy(good.astype(np.float32)) / 127.5 - 1
    noisy = blurred(wide[None], kernel) + 0.02 * torch.randn(good.shape, generator=torch.Generator().manual_seed(6))
    seen = ((noisy[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    made = Restorer.load("denoise", device="cpu")(seen, kernel=kernel)

    def away(x):
        return float(np.square((x.astype(float) - good)[12:-12, 12:-12]).mean())

    assert 10 * np.log10(away(seen) / away(made)) > 4

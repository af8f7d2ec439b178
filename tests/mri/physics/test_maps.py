import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier
from fewstep.mri.physics import birdcage, compress, espirit, estimate_maps, find_acs, noise_std, whitening
from fewstep.mri.physics.masks import equispaced
from fewstep.mri.physics.noise import combine

SHAPE = (48, 45)


def head(shape, seed=0):
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape)
    y, x = torch.meshgrid(y, x, indexing="ij")
    image = torch.zeros(shape, dtype=torch.float64)
    for height, width, down, right, value in [
        (0.8, 0.7, 0, 0, 1.0), (0.65, 0.55, 0, 0, -0.4), (0.2, 0.15, 0.3, 0.2, 0.4), (0.15, 0.2, -0.3, -0.1, -0.3),
    ]:  # fmt: skip
        image += value * (((y - down) / height) ** 2 + ((x - right) / width) ** 2 < 1)
    return torch.polar(image, 0.5 + 0.6 * x + 0.4 * y**2 + 0.1 * seed)


def scan(coils=6, shape=SHAPE, batch=1, noise=0.002, dtype=torch.complex64):
    """k-space [batch, coil, y, x], its maps and images."""
    maps = birdcage(coils, shape, dtype=torch.complex128)
    images = torch.stack([head(shape, i) for i in range(batch)])
    kspace = Fourier((coils, *shape), (-2, -1)).apply(maps * images.unsqueeze(1))
    generator = torch.Generator().manual_seed(1)
    kspace = kspace + noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    return kspace.to(dtype), maps.to(dtype), images.to(dtype)


def lines(count, every=4, n=SHAPE[1]):
    mask = torch.zeros(1, n, dtype=torch.bool)
    mask[:, ::every] = True
    mask[:, n // 2 - count // 2 : n // 2 - count // 2 + count] = True
    return mask


def unexplained(found, images, maps):
    """Energy of the coil images that is not along the maps found."""
    seen = maps * images.unsqueeze(1)
    left = seen - found * (found.conj() * seen).sum(1, keepdim=True)
    return float(left.abs().square().sum() / seen.abs().square().sum())


@pytest.mark.parametrize("count, method, limit", [(24, "espirit", 5e-4), (8, "espirit", 2e-3), (4, "espirit", 2e-2)])
def test_maps_from_few_lines(count, method, limit):
    kspace, maps, images = scan(shape=(48, 96))
    mask = lines(count, n=96)
    found = estimate_maps(kspace * mask, mask)
    assert found.method == method
    assert found.acs[0] == 48
    assert count <= found.lines <= count + 2
    assert unexplained(found.maps, images, maps) < limit
    assert bool(found.warnings) == (count < 24)


def test_narrow_kernels_beat_walsh():
    kspace, maps, images = scan(shape=(48, 96))
    for count in (6, 10, 24):
        mask = lines(count, n=96)
        errors = {
            m: unexplained(estimate_maps(kspace * mask, mask, method=m).maps, images, maps)
            for m in ("espirit", "walsh")
        }
        assert errors["espirit"] < errors["walsh"] / 2


def test_falls_back_to_low_resolution():
    kspace, maps, images = scan()
    mask = lines(3, every=7)
    found = estimate_maps(kspace * mask, mask)
    assert found.method == "walsh"
    assert found.kernel is None
    assert any("only 3 calibration lines" in note for note in found.warnings)
    assert unexplained(found.maps, images, maps) < 0.1


def test_falls_back_where_espirit_finds_nothing():
    kspace, _, _ = scan()
    mask = lines(24)
    found = estimate_maps(kspace * mask, mask, crop=0.99999)
    assert found.method == "walsh"
    assert any("for only" in note for note in found.warnings)


def test_unit_norm_in_the_support_and_zero_outside():
    kspace, _, images = scan(batch=2)
    found = estimate_maps(kspace, torch.ones(1, SHAPE[1], dtype=torch.bool))
    norm = torch.linalg.vector_norm(found.maps, dim=1)
    assert bool(((norm - 1).abs() < 1e-4).logical_or(norm == 0).all())
    assert bool((norm[images.abs() > 0.1] > 0).all())
    assert 0.3 < found.support < 1


def test_against_sigpy():
    """The same one-dimensional subspace of coils at every pixel of the object."""
    app = pytest.importorskip("sigpy.mri.app")
    kspace, _, images = scan(coils=4, shape=(32, 30), noise=0.01)
    options = {"calib_width": 24, "kernel_width": 5, "crop": 0.8, "max_iter": 60, "show_pbar": False}
    theirs = torch.from_numpy(app.EspiritCalib(kspace[0].numpy(), **options).run())
    ours = estimate_maps(kspace, torch.ones(1, 30, dtype=torch.bool)).maps[0]
    both = (theirs.abs().sum(0) > 0) & (ours.abs().sum(0) > 0) & (images[0].abs() > 0.05)
    assert int(both.sum()) > 0.9 * int((images[0].abs() > 0.05).sum())
    assert float((theirs.conj() * ours).sum(0).abs()[both].min()) >= 0.99


@pytest.mark.parametrize("method", ["espirit", "walsh"])
def test_scale_and_phase_of_the_data_do_not_matter(method):
    kspace, _, _ = scan(dtype=torch.complex128, coils=4)
    mask = lines(12)
    one = estimate_maps(kspace * mask, mask, method=method).maps
    other = estimate_maps(kspace * mask * (3e-4 - 2e-4j), mask, method=method).maps
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["espirit", "walsh"])
def test_batch_is_a_loop(method):
    kspace, _, _ = scan(batch=3, shape=(33, 32))
    mask = lines(12, n=32)
    together = estimate_maps(kspace * mask, mask, method=method).maps
    alone = torch.cat([estimate_maps(k[None] * mask, mask, method=method).maps for k in kspace])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(96, 96), (97, 120)])
def test_interpolated_maps_are_those_of_every_pixel(shape):
    kspace, _, images = scan(coils=4, shape=shape)
    acs = kspace[..., shape[0] // 2 - 12 : shape[0] // 2 + 12, shape[1] // 2 - 12 : shape[1] // 2 + 12]
    (maps, values), (fine, finer) = (espirit(acs, shape, kernel=(6, 6), step=step) for step in (2, 1))
    inside = images.abs() > 0.1
    assert maps.shape == fine.shape
    assert float((1 - (maps.conj() * fine).sum(1).abs())[inside].max()) < 1e-4
    assert float((maps - fine).abs().amax(1)[inside].max()) < 2e-2
    assert float((values - finer).abs()[inside].max()) < 1e-2


def test_one_coil():
    kspace, _, _ = scan(coils=1)
    found = estimate_maps(kspace, equispaced(SHAPE, acceleration=4, centre_fraction=0.1, seed=0))
    assert found.method == "single coil"
    assert torch.equal(found.maps, torch.ones_like(kspace))


def test_only_the_centre_counts():
    kspace, _, _ = scan()
    mask = lines(12)
    acs = find_acs(mask, SHAPE)
    other = torch.zeros_like(kspace)
    acs.of(other).copy_(acs.of(kspace))
    torch.testing.assert_close(estimate_maps(kspace * mask, mask).maps, estimate_maps(other, mask).maps)


def test_refuses():
    kspace, _, _ = scan()
    mask = lines(12)
    with pytest.raises(UsageError, match=r"complex k-space \[batch"):
        estimate_maps(kspace[0], mask)
    with pytest.raises(UsageError, match="method for coil maps"):
        estimate_maps(kspace, mask, method="sake")
    with pytest.raises(UsageError, match="fully sampled centre"):
        estimate_maps(kspace, torch.arange(SHAPE[1])[None] % 4 == 0)
    with pytest.raises(UsageError, match="at least 4 calibration lines"):
        estimate_maps(kspace, lines(2, every=7), method="espirit")
    with pytest.raises(UsageError, match="zeros only"):
        estimate_maps(torch.zeros_like(kspace), mask)
    with pytest.raises(UsageError, match="kernel no larger"):
        espirit(kspace[..., :5, :5], SHAPE, kernel=(6, 6))
    with pytest.raises(UsageError, match="at least one coil"):
        birdcage(0, SHAPE)


def coloured(coils=4, n=20000):
    generator = torch.Generator().manual_seed(2)
    mix = torch.randn(coils, coils, dtype=torch.complex128, generator=generator)
    return mix @ torch.randn(coils, n, dtype=torch.complex128, generator=generator)


def test_whitening():
    noise = coloured()
    white = whitening(noise) @ noise
    covariance = white @ white.mH / white.shape[1]
    torch.testing.assert_close(covariance, torch.eye(4, dtype=torch.complex128), rtol=0, atol=1e-10)


def test_whitening_refuses():
    noise = coloured()
    with pytest.raises(UsageError, match="more noise samples"):
        whitening(noise[:, :3])
    with pytest.raises(UsageError, match=r"none in coil \[1\]"):
        whitening(noise * torch.tensor([1, 0, 1, 1])[:, None])
    with pytest.raises(UsageError, match="two coils are the same"):
        whitening(noise[[0, 1, 1]])


@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_noise_level(sigma):
    kspace, _, _ = scan(noise=0, shape=(128, 120))
    generator = torch.Generator().manual_seed(3)
    kspace = kspace + sigma * 3 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    mask = lines(16, n=120)
    assert noise_std(kspace * mask, mask) == pytest.approx(3 * sigma, rel=0.25)


def test_noise_level_refuses():
    with pytest.raises(UsageError, match="without a sample"):
        noise_std(torch.zeros(2, 4, 4, dtype=torch.complex64), torch.zeros(4, 4, dtype=torch.bool))


def test_compression():
    kspace, _, _ = scan(coils=6, noise=0)
    few, kept = compress(kspace, 4)
    assert few.shape == (1, 4, *SHAPE)
    assert 0.9 < kept < 1
    assert float(few.abs().square().sum() / kspace.abs().square().sum()) == pytest.approx(kept, rel=1e-4)
    assert float(few[0, 0].norm()) >= float(few[0, 1].norm())
    assert compress(kspace, 6)[0] is kspace
    with pytest.raises(UsageError, match="at least one coil"):
        compress(kspace, 0)


def test_combine_is_a_product_of_matrices():
    matrix = torch.randn(2, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    kspace, _, _ = scan()
    torch.testing.assert_close(combine(matrix, kspace)[0, 1, 3, 4], (matrix @ kspace[0, :, 3, 4])[1])

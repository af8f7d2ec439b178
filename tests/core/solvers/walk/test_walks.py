"""Walks: laws on Gaussian data, equality where they degenerate, and streams per item."""

import math

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.sample import StopSampling
from fewstep.core.solvers import walk

OU, VP, EDM = paths.ou(), paths.vp_linear(), paths.edm()
D = torch.float64


def exact(path, mean=0.0, variance=1.0, y=0.0):
    """The denoiser of N(mean, variance)."""

    def denoise(x, t):
        a, b, s = path.coefficients(t)
        return mean + a * variance / (a * a * variance + s * s) * (x - b * y - a * mean)

    return denoise


WALKS = [
    walk.predictor_corrector(),
    walk.predictor_corrector(rule="langevin", snr=0.16),
    walk.predictor_corrector(walk.euler_maruyama_x()),
    walk.euler_maruyama_x(),
    walk.time_shift(solvers.dpmpp_2m(), window=0.1, cutoff=0.2),
    walk.dual_fast(solvers.dpmpp_2m(), strength=0.1),
    walk.teleport(solvers.dpmpp_2m(), walk.Gaussian(torch.zeros(6), 1.0), 0.7),
]


@pytest.mark.parametrize("sampler", WALKS, ids=lambda w: type(w).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_a_batch_of_four_is_four_batches_of_one(sampler, dtype):
    y = torch.linspace(-1, 1, 24).reshape(4, 6).to(dtype)
    grid = times.uniform(OU, 4)[:-1]

    def run(y, seeds):
        return sample(lambda x, t: x / (1 + x.abs()), OU, times=grid, solver=sampler, y=y, seeds=seeds)

    together = run(y, [5, 3, 8, 1])
    alone = torch.cat([run(y[i : i + 1], [seed]).x for i, seed in enumerate([5, 3, 8, 1])])
    torch.testing.assert_close(together.x, alone, rtol=1e-5, atol=1e-6)
    assert together.x.dtype == dtype
    assert not together.x.is_inference()
    assert together.times[0] == 1
    assert together.times[-1] == grid[-1]


@pytest.mark.parametrize("sampler", WALKS, ids=lambda w: type(w).__name__)
def test_gradients_callbacks_and_nan(sampler):
    x, grid = torch.linspace(-1, 1, 6, dtype=D)[None].requires_grad_(), times.uniform(OU, 4)[:-1]
    y = torch.full((1, 6), 0.3, dtype=D)
    options = {"times": grid, "solver": sampler, "y": y, "seeds": [0]}
    out = sample(lambda x, t: torch.tanh(x), OU, x=x, grad=True, **options)
    assert float(torch.autograd.grad(out.x.sum(), x)[0].abs().min()) > 0
    seen = []
    replaced = sample(
        lambda x, t: torch.tanh(x), OU, x=x, callback=lambda i: seen.append(i.t) or torch.zeros_like(i.x), **options
    )
    assert torch.equal(replaced.x, torch.zeros_like(replaced.x))
    assert seen[-1] == grid[-1]
    with pytest.raises(UsageError, match=r"denoise returned NaN or infinity at step \d \(t = "):
        sample(lambda x, t: x * math.nan, OU, x=x, **options)

    def stop(info):
        raise StopSampling

    assert sample(lambda x, t: torch.tanh(x), OU, x=x, callback=stop, **options).x.shape == x.shape
    with pytest.raises(UsageError, match="expected the callback to return"):
        sample(lambda x, t: torch.tanh(x), OU, x=x, callback=lambda i: i.x[0], **options)


def test_a_callback_replaces_the_state_of_a_walk():
    out = sample(
        lambda x, t: x / 2,
        EDM,
        times=[2.0, 1.0, 0.5],
        solver=walk.euler_maruyama_x(0.0),
        x=torch.ones(1, 2, dtype=D),
        callback=lambda info: torch.full_like(info.x, 3.0) if info.i == 0 else None,
    )
    torch.testing.assert_close(out.x, torch.full((1, 2), 3 * (1 - 0.5 / 2), dtype=D))
    assert out.nfe == 2
    assert out.times.tolist() == [2.0, 1.0, 0.5]


@pytest.mark.parametrize("path", [OU, VP, EDM], ids=lambda path: path.key)
@pytest.mark.parametrize("rule", walk.langevin.RULES)
def test_langevin_keeps_the_marginal(path, rule):
    """Many corrections at one time, from the marginal: unadjusted steps of size r widen variance V to V/(1 − r/2V)."""
    t, n = 0.4 * path.t_max, 20_000
    a, b, s = (float(v) for v in path.coefficients(t))
    variance = a * a * 0.7 + s * s
    x = b * 2.0 + a * 0.5 + variance**0.5 * torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=D)[None]
    snr = 0.3 if rule == "annealed" else 0.15
    sampler = walk.predictor_corrector(solvers.ddim(), rule=rule, snr=snr, corrections=30)
    near = t * (1 - 1e-9)
    out = sample(
        exact(path, 0.5, 0.7, y=2.0), path, times=[t, near], solver=sampler, x=x, y=torch.full_like(x, 2.0), seeds=[1]
    ).x
    rate = 2 * snr**2 * (s * s / variance if rule == "annealed" else 1.0)
    assert float(out.mean()) == pytest.approx(b * 2 + a * 0.5, abs=0.05 * variance**0.5)
    wide, left = variance / (1 - rate / 2), (1 - rate) ** 60
    assert float(out.var()) == pytest.approx(wide + (variance - wide) * left, rel=0.04)
    assert float(torch.corrcoef(torch.cat([x, out]))[0, 1]) == pytest.approx((1 - rate) ** 30, abs=0.04)


def test_langevin_moves_a_wrong_state_towards_the_marginal():
    x = torch.full((1, 4000), 3.0, dtype=D)
    far = walk.predictor_corrector(solvers.ddim(), corrections=40)
    out = sample(exact(EDM), EDM, times=[1.0, 1 - 1e-9], solver=far, x=x, seeds=[0]).x
    assert float(out.mean()) == pytest.approx(0, abs=0.1)
    assert float(out.var()) == pytest.approx(2.0, rel=0.2)


@pytest.mark.parametrize("predictor", [solvers.ddim(), solvers.ddpm(), solvers.multistep(1, "trig")], ids=repr)
def test_without_corrections_it_is_the_predictor(predictor):
    y, grid = torch.linspace(-1, 1, 6, dtype=D)[None], times.uniform(OU, 5)
    options = {"times": grid, "y": y, "seeds": [3]}
    alone = sample(lambda x, t: torch.tanh(x), OU, solver=predictor, **options)
    walked = sample(
        lambda x, t: torch.tanh(x), OU, solver=walk.predictor_corrector(predictor, corrections=0), **options
    )
    torch.testing.assert_close(walked.x, alone.x, rtol=1e-12, atol=1e-12)
    assert walked.nfe == alone.nfe == 5


def test_corrections_are_counted_and_the_batch_norm_sees_the_batch():
    y, grid = torch.stack([torch.ones(6), 5 * torch.ones(6)]), times.uniform(OU, 3)

    def run(norm, y, seeds):
        sampler = walk.predictor_corrector(rule="langevin", corrections=2, norm=norm)
        return sample(lambda x, t: torch.tanh(x), OU, times=grid, solver=sampler, y=y, seeds=seeds)

    assert run("item", y, [0, 1]).nfe == 9
    assert not torch.allclose(run("batch", y, [0, 1]).x[:1], run("batch", y[:1], [0]).x)
    torch.testing.assert_close(run("batch", y[:1], [0]).x, run("item", y[:1], [0]).x)


def gaussian_error(sampler, n, path, seeds=40):
    """Of mean and variance at t_min, for N(0.5, 0.7) data and y = 2."""
    variance, items = 0.7, 500
    grid = torch.linspace(path.t_max, 0.05, n + 1, dtype=D)
    a, b, s = path.coefficients(grid)
    r = (a * a * variance + s * s).sqrt()
    z = torch.randn(seeds, items, generator=torch.Generator().manual_seed(5), dtype=D)
    x, y = a[0] * 0.5 + b[0] * 2 + r[0] * z, torch.full((seeds, items), 2.0, dtype=D)
    out = sample(exact(path, 0.5, variance, 2.0), path, times=grid, solver=sampler, x=x, y=y, seeds=range(seeds)).x
    if sampler.eta == 0:
        return float((out - (a[-1] * 0.5 + b[-1] * 2 + r[-1] * z)).abs().mean())
    return abs(float(out.var() / r[-1] ** 2) - 1)


def test_euler_maruyama_x_is_of_first_order_without_noise():
    errors = [gaussian_error(walk.euler_maruyama_x(0.0), n, OU, 2) for n in (40, 80)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.05)


def test_euler_maruyama_x_ends_with_the_variance_of_the_data():
    assert gaussian_error(walk.euler_maruyama_x(last_noise=True), 200, OU) < 0.06


def test_euler_maruyama_x_is_the_step_of_the_reverse_sde_in_x():
    """Written from the SDE of the OU process itself: drift gamma (y − x), diffusion of its closed form."""
    gamma, low, high = 1.5, 0.05, 0.5
    ratio = math.log(high / low)
    x, y, t, dt = torch.tensor([[0.3, -2.0]], dtype=D), torch.tensor([[1.0, 0.5]], dtype=D), 0.8, 0.1

    def score(x, t):
        mean = math.exp(-gamma * t) * 0.2 + (1 - math.exp(-gamma * t)) * y
        variance = low**2 * ratio / (gamma + ratio) * (math.exp(2 * ratio * t) - math.exp(-2 * gamma * t))
        return (mean - x) / variance

    g2 = (low * (high / low) ** t) ** 2 * 2 * ratio
    expected = x - dt * (gamma * (y - x) - g2 * score(x, t))
    out = sample(
        lambda x, t: torch.full_like(x, 0.2), OU, times=[t, t - dt], solver=walk.euler_maruyama_x(), x=x, y=y
    ).x
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)


def test_time_shift_finds_no_shift_for_an_exact_state():
    """In many dimensions the state's variance names its time, if that of the data is known."""
    told, n, variance = [], 200_000, 0.25
    x = (variance + 80.0**2) ** 0.5 * torch.randn(1, n, generator=torch.Generator().manual_seed(0), dtype=D)

    def denoise(x, t):
        told.append(float(t))
        return exact(EDM, 0.0, variance)(x, t)

    grid = [80.0, 40.0, 20.0, 10.0, 5.0]
    shifted = walk.time_shift(solvers.multistep(1, "trig"), window=1.0, cutoff=0.0, variance=variance)
    sample(denoise, EDM, times=grid, solver=shifted, x=x)
    for asked, t in zip(told, grid, strict=False):
        assert asked == pytest.approx(t, rel=0.02)


def test_time_shift_names_the_time_that_the_state_has():
    told = []
    sampler = walk.time_shift(solvers.ddim(), window=2.0, cutoff=1.5)
    z = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0), dtype=D)

    def denoise(x, t):
        told.append(t.clone())
        return torch.zeros_like(x)

    def noisier(info):
        return torch.tensor([[5.5], [4.6]], dtype=D) * z

    sample(denoise, EDM, times=[10.0, 5.0, 1.0], solver=sampler, x=10 * z, callback=noisier)
    assert told[0].ndim == 0
    torch.testing.assert_close(told[1], torch.tensor([5.5, 4.6], dtype=D), rtol=0.03, atol=0)


@pytest.mark.parametrize(
    "same",
    [
        lambda solver: walk.time_shift(solver, window=0.0, cutoff=0.0),
        lambda solver: walk.time_shift(solver, window=1.0, cutoff=2.0),
        lambda solver: walk.dual_fast(solver, strength=0.0),
    ],
)
@pytest.mark.parametrize(
    "solver",
    [solvers.dpmpp_2m(), solvers.ddpm(), solvers.ghvb(2), solvers.multistep(3, "trig", corrector=True)],
    ids=repr,
)
def test_switched_off_it_is_the_solver(same, solver):
    y = torch.linspace(-1, 1, 6, dtype=D)[None]
    options = {"times": times.uniform(OU, 5), "y": y, "seeds": [3]}
    alone, walked = (sample(lambda x, t: torch.tanh(x), OU, solver=s, **options) for s in (solver, same(solver)))
    torch.testing.assert_close(walked.x, alone.x, rtol=1e-10, atol=1e-10)
    assert walked.nfe == alone.nfe


def test_dual_fast_harms_an_exact_net_and_mends_a_biased_one():
    """The biased net errs towards its first answer, which is what the correction supposes."""
    x, variance = 80 * torch.linspace(-1, 1, 9, dtype=D)[None], 0.25
    truth = x * (variance / (variance + 80**2)) ** 0.5
    grid = times.karras(EDM, 12)

    first = x * 80 / (variance + 80**2)

    def biased(x, t):
        eps = x * t / (variance + t**2)
        return x - t * (eps + 0.15 * (first - eps))

    def error(denoise, strength):
        out = sample(
            denoise, EDM, times=grid, solver=walk.dual_fast(solvers.multistep(2, "trig"), strength=strength), x=x
        )
        return float((out.x - truth).abs().max())

    assert error(exact(EDM, 0.0, variance), 0.2) > 2 * error(exact(EDM, 0.0, variance), 0.0)
    assert error(biased, 0.2) < error(biased, 0.0) / 1.5


def covariance(kind):
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(5, generator=g, dtype=D)
    axes = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=D))[0].T
    if kind == "diagonal":
        variance = torch.linspace(0.1, 2, 5, dtype=D)
        return walk.Gaussian(mean, variance), torch.diag(variance)
    rank = 2 if kind == "low rank" else 5
    along = torch.linspace(3, 0.2, rank, dtype=D)
    full = axes[:rank].T @ torch.diag(along - 0.05) @ axes[:rank] + 0.05 * torch.eye(5, dtype=D)
    return walk.Gaussian(mean, 0.05, axes[:rank], along), full


@pytest.mark.parametrize("kind", ["diagonal", "low rank", "full"])
@pytest.mark.parametrize("path", [VP, OU, EDM, paths.rectified_flow()], ids=lambda path: path.key)
def test_teleportation_is_the_flow_of_gaussian_data(kind, path):
    gaussian, full = covariance(kind)
    y = torch.full((3, 5), 0.7, dtype=D)
    x = path.t_max * torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=D)
    t, t_new = 0.95 * path.t_max, 0.2 * path.t_max
    (a, b, s), (a_n, b_n, s_n) = path.coefficients(t), path.coefficients(t_new)
    eye = torch.eye(5, dtype=D)

    def root(m):
        values, vectors = torch.linalg.eigh(m)
        return vectors @ torch.diag(values.sqrt()) @ vectors.T

    # both covariances have the same axes, so their roots commute
    matrix = root(a_n**2 * full + s_n**2 * eye) @ torch.linalg.inv(root(a**2 * full + s**2 * eye))
    expected = a_n * gaussian.mean + b_n * y + (x - b * y - a * gaussian.mean) @ matrix.T
    torch.testing.assert_close(gaussian.jump(path, x, t, t_new, y), expected, rtol=1e-10, atol=1e-10)


def test_teleported_sampling_saves_calls():
    gaussian, full = covariance("low rank")
    x = 80 * torch.randn(2, 5, generator=torch.Generator().manual_seed(1), dtype=D)

    def denoise(x, t):
        gain = full @ torch.linalg.inv(full + t**2 * torch.eye(5, dtype=D))
        return gaussian.mean + (x - gaussian.mean) @ gain.T

    grid = times.karras(EDM, 60)
    whole = sample(denoise, EDM, times=grid, solver=solvers.multistep(3), x=x)
    part = sample(denoise, EDM, times=grid, solver=walk.teleport(solvers.multistep(3), gaussian, 10.0), x=x)
    truth = gaussian.jump(EDM, x, 80.0, 0.0)
    assert part.nfe < 0.75 * whole.nfe
    assert (part.x - truth).abs().max() < 2 * (whole.x - truth).abs().max()


def test_a_gaussian_is_estimated_from_data():
    gaussian, full = covariance("low rank")
    root = torch.linalg.cholesky(full)
    items = gaussian.mean + torch.randn(40_000, 5, generator=torch.Generator().manual_seed(2), dtype=D) @ root.T
    low, diagonal = walk.Gaussian.of(items, rank=2), walk.Gaussian.of(items)
    found = low.axes.T @ torch.diag(low.along - low.variance) @ low.axes + low.variance * torch.eye(5, dtype=D)
    torch.testing.assert_close(found, full, rtol=0, atol=0.06)
    torch.testing.assert_close(diagonal.variance, full.diag(), rtol=0.05, atol=0)
    torch.testing.assert_close(diagonal.mean, gaussian.mean, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: walk.predictor_corrector(rule="annoyed"), "expected rule out of .* got 'annoyed' and 'item'"),
        (lambda: walk.predictor_corrector(norm="all"), "got 'annealed' and 'all'"),
        (lambda: walk.predictor_corrector(snr=0.0), "expected snr > 0 and corrections >= 0, got 0.0 and 1"),
        (lambda: walk.predictor_corrector(corrections=-1), "got 0.5 and -1"),
        (lambda: walk.euler_maruyama_x(-1.0), "expected eta >= 0, got -1.0"),
        (lambda: walk.time_shift(solvers.ddim(), window=-1, cutoff=0), "expected window, cutoff and variance >= 0"),
        (lambda: walk.dual_fast(solvers.ddim(), strength=-1), "expected strength >= 0, got -1"),
        (lambda: walk.teleport(solvers.ddim(), walk.Gaussian(torch.zeros(2), 1.0), 0.0), "got until=0.0"),
        (lambda: walk.Gaussian(torch.zeros(2), 1.0, torch.eye(2)), "axes .* and along .* together, or neither"),
        (lambda: walk.Gaussian(torch.zeros(2), torch.ones(2), torch.eye(2), torch.ones(2)), "is one number"),
        (lambda: walk.Gaussian(torch.zeros(2), 1.0, torch.eye(3), torch.ones(3)), r"axes \[3, 2\], got \[3, 3\]"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (walk.predictor_corrector(solvers.dpmpp_2m()), {}, "one evaluation per step without memory, got dpmpp_2m"),
        (walk.predictor_corrector(solvers.heun()), {}, "one evaluation per step without memory, got heun"),
        (walk.teleport(solvers.ddim(), walk.Gaussian(torch.zeros(2), 1.0), 200.0), {}, "`until` between"),
        (walk.euler_maruyama_x(), {"path": paths.sb_ve(), "times": [1.0, 0.5]}, "finite slopes and s > 0"),
        (walk.euler_maruyama_x(), {"noise": "brownian"}, "expected noise='independent', got 'brownian'"),
        (walk.euler_maruyama_x(), {"compile": True}, "compile=True needs a tableau"),
        (walk.euler_maruyama_x(), {"times": None}, "expected decreasing times, got None"),
    ],
)
def test_bad_runs(sampler, options, message):
    options = {"path": EDM, "times": [80.0, 1.0, 0.1], "shape": (1, 2), **options}
    path = options.pop("path")
    with pytest.raises(UsageError, match=message):
        sample(lambda x, t: x, path, solver=sampler, **options)

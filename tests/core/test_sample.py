"""The loop: streams, precision, callbacks, counting, and clear errors."""

import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewstep.core import paths, rng, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.sample import StopSampling
from fewstep.core.solvers.walk import predictor_corrector

OU = paths.ou()
SOLVERS = [
    solvers.ddim(),
    solvers.ddpm(),
    solvers.dpmpp_2m(),
    solvers.heun(),
    solvers.multistep(3, "trig", corrector=True),
]


def soft(x, t):
    """A denoiser that is not linear and treats each component alone."""
    return torch.tanh(x) if not x.is_complex() else x / (1 + x.abs())


def run(solver=None, path=OU, n=4, denoise=soft, **options):
    return sample(denoise, path, times=times.uniform(path, n), solver=solver or solvers.ddpm(), **options)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64], ids=str)
def test_a_batch_of_four_is_four_batches_of_one_in_any_order(solver, dtype):
    seeds, y = [5, 3, 8, 1], torch.linspace(-1, 1, 24).reshape(4, 2, 3).to(dtype)
    together = run(solver, y=y, seeds=seeds).x
    alone = torch.cat([run(solver, y=y[i : i + 1], seeds=seeds[i : i + 1]).x for i in range(4)])
    backwards = run(solver, y=y.flip(0), seeds=seeds[::-1]).x.flip(0)
    assert together.dtype == dtype
    assert torch.equal(together, alone)
    assert torch.equal(together, backwards)


def test_one_seed_makes_the_same_items_in_a_larger_batch():
    assert torch.equal(run(shape=(2, 5), generator=3).x, run(shape=(6, 5), generator=3).x[:2])
    streams = rng.streams(3, 6)[1:2]
    assert torch.equal(run(shape=(1, 5), generator=streams).x, run(shape=(6, 5), generator=3).x[1:2])


def test_the_global_state_is_untouched():
    before = torch.get_rng_state()
    run(shape=(2, 5))
    assert torch.equal(before, torch.get_rng_state())


def test_noise_is_drawn_only_where_it_counts():
    streams = rng.streams(0, 1)
    run(solvers.ddim(), x=torch.ones(1, 5), generator=streams)
    assert torch.equal(torch.rand(3, generator=streams[0]), torch.rand(3, generator=rng.streams(0, 1)[0]))


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_follows_double(solver, dtype):
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 6)
    exact = run(solver, x=x, y=x, seeds=[0, 1]).x
    half = run(solver, x=x.to(dtype), y=x.to(dtype), seeds=[0, 1]).x
    assert half.dtype == dtype
    assert (half.double() - exact).abs().max() < (0.02 if dtype == torch.float16 else 0.15)


def test_complex_noise_has_unit_variance_in_total():
    drawn = run(path=paths.edm(), denoise=lambda x, t: torch.zeros_like(x), n=1, shape=(1, 9), dtype=torch.complex64)
    assert drawn.x.dtype == torch.complex64
    z = (
        sample(
            lambda x, t: 0 * x,
            paths.edm(),
            times=[80.0, 79.0],
            solver=solvers.ddim(),
            shape=(1, 40_000),
            generator=0,
            dtype=torch.complex64,
        ).x
        / 79
    )
    assert float(z.abs().square().mean()) == pytest.approx(1, abs=0.02)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    solver=st.sampled_from(SOLVERS),
    n=st.integers(1, 4),
    strided=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_any_shape_and_stride(shape, solver, n, strided):
    y = torch.linspace(-1, 1, math.prod(shape)).reshape(shape)
    y = y.flip(0).transpose(0, -1).contiguous().transpose(0, -1) if strided else y
    out = run(solver, n=n, y=y, generator=0)
    assert out.x.shape == y.shape
    assert torch.isfinite(out.x).all()
    assert torch.equal(out.x, run(solver, n=n, y=y.clone(), generator=0).x)


def test_zero_dimensional_items_work():
    assert run(shape=(3,), generator=0).x.shape == (3,)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_start_is_not_changed_and_the_result_is_free(solver):
    x = torch.ones(1, 5)
    out = run(solver, x=x, generator=0)
    assert torch.equal(x, torch.ones(1, 5))
    assert not out.x.is_inference()
    out.x.requires_grad_().sum().backward()


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_gradients_flow_if_asked(solver):
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[None].requires_grad_()

    def through(x, scale):
        return run(solver, x=x, seeds=[0], denoise=lambda x, t: torch.tanh(scale * x), grad=True).x

    assert torch.autograd.gradcheck(through, (x, scale))
    assert not run(solver, x=x, seeds=[0], denoise=lambda x, t: torch.tanh(scale * x)).x.requires_grad


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_denoiser_may_return_its_input(solver):
    x = torch.ones(1, 3)
    given, copied = (run(solver, x=x, seeds=[0], denoise=f).x for f in (lambda x, t: x, lambda x, t: x.clone()))
    assert torch.equal(given, copied)


@pytest.mark.parametrize(("solver", "calls"), [(solvers.ddim(), 4), (solvers.dpmpp_2m(), 4), (solvers.heun(), 7)])
def test_calls_and_times(solver, calls):
    asked = []

    def denoise(x, t):
        asked.append(t)
        return x / 2

    out = run(solver, denoise=denoise, shape=(2, 3), generator=0)
    assert out.nfe == calls == len(asked)
    assert out.times.tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert all(t.ndim == 0 and t.dtype == torch.float32 for t in asked)
    assert max(float(t) for t in asked) == 1


def test_times_are_told_in_single_precision_at_least():
    kinds = []

    def denoise(x, t):
        kinds.append(t.dtype)
        return x

    for dtype in (torch.float16, torch.complex64, torch.float64, torch.complex128):
        run(denoise=denoise, n=1, shape=(1, 2), dtype=dtype)
    assert kinds == [torch.float32, torch.float32, torch.float64, torch.float64]


def test_temperature_multiplies_the_noise_of_the_prior():
    def first(temperature):
        seen = []
        run(
            n=1,
            denoise=lambda x, t: seen.append(x.clone()) or x,
            y=torch.ones(1, 4),
            seeds=[0],
            temperature=temperature,
        )
        return seen[0]

    torch.testing.assert_close(first(0.5) - 1, (first(1.0) - 1) / 2)
    assert torch.equal(first(0.0), torch.ones(1, 4))


def test_y_alone_says_shape_dtype_and_where():
    y = torch.ones(2, 3, dtype=torch.float64)
    assert run(y=y).x.dtype == torch.float64
    assert run(y=y, dtype=torch.float32).x.dtype == torch.float32


def test_callback_sees_each_row_and_may_replace_the_state():
    seen = []

    def callback(info):
        seen.append((info.i, info.step, info.t_eval, info.t, info.denoised.clone()))
        return torch.full_like(info.x, 2.0) if info.i == 2 else None

    y = torch.ones(1, 3)
    out = run(solvers.ddim(), y=y, seeds=[0], callback=callback)
    assert [row[:4] for row in seen] == [(0, 0, 1, 0.75), (1, 1, 0.75, 0.5), (2, 2, 0.5, 0.25), (3, 3, 0.25, 0)]
    torch.testing.assert_close(seen[3][4], torch.full((1, 3), math.tanh(2.0)))
    torch.testing.assert_close(out.x, torch.full((1, 3), math.tanh(2.0)))


def test_callback_of_a_solver_with_stages():
    steps = []
    run(solvers.heun(), shape=(1, 2), n=2, callback=lambda info: steps.append((info.i, info.step, info.t)))
    assert steps == [(0, 0, 0.5), (1, 0, 0.5), (2, 1, 0)]


def test_callback_may_look_without_changing_anything():
    y = torch.ones(1, 3)
    assert torch.equal(run(y=y, seeds=[0], callback=lambda info: None).x, run(y=y, seeds=[0]).x)


@pytest.mark.parametrize("with_x", [False, True])
def test_early_stop(with_x):
    def callback(info):
        if info.i == 1:
            raise StopSampling(info.denoised) if with_x else StopSampling

    kept = []
    run(
        solvers.ddim(), y=torch.ones(1, 3), seeds=[0], callback=lambda i: kept.append((i.x.clone(), i.denoised.clone()))
    )
    out = run(solvers.ddim(), y=torch.ones(1, 3), seeds=[0], callback=callback)
    assert torch.equal(out.x, kept[1][1 if with_x else 0])
    assert out.nfe == 2
    assert out.times.tolist() == [1, 0.75, 0.5]


def test_progress_goes_to_standard_error(capsys):
    run(shape=(1, 2), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "sampling" in captured.err


def test_a_tableau_is_a_solver_and_threads_share_it():
    table, results = solvers.dpmpp_2m().tableau(OU, times.uniform(OU, 6)), {}

    def work(name):
        results[name] = sample(soft, OU, solver=table, y=torch.full((2, 3), float(name)), generator=name).x

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(4):
        alone = run(solvers.dpmpp_2m(), n=6, y=torch.full((2, 3), float(name)), generator=name).x
        assert torch.equal(results[name], alone)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives():
    for solver in SOLVERS:
        x = run(solver, shape=(3, 7), generator=2, dtype=torch.float64).x
        there = run(solver, shape=(3, 7), generator=2, dtype=torch.float64, device="cuda").x
        torch.testing.assert_close(there.cpu(), x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"shape=\[batch, ...\], x or y to say what to draw"),
        ({"shape": (2, 0)}, r"to say what to draw, got shape \[2, 0\]"),
        ({"shape": (2, 3), "y": torch.zeros(2, 4)}, r"y: expected shape \[2, 3\] like the state, got \[2, 4\]"),
        ({"x": torch.zeros(2, 3), "y": torch.zeros(3)}, r"y: expected shape \[2, 3\]"),
        ({"shape": (2, 3), "x": torch.zeros(3)}, r"x: expected shape \[2, 3\]"),
        ({"shape": (2, 3), "generator": 0, "seeds": [1, 2]}, "generator or seeds, got both"),
        ({"shape": (2, 3), "seeds": [1]}, "one seed per item, 2, got 1"),
        ({"shape": (2, 3), "temperature": -1.0}, "temperature >= 0"),
        ({"x": torch.zeros(2, 3, dtype=torch.int64)}, "floating-point state, got torch.int64: pass dtype="),
        ({"shape": (2, 3), "denoise": lambda x, t: x[:1]}, r"expected denoise to return .* \[2, 3\], got \[1, 3\]"),
        ({"shape": (2, 3), "denoise": lambda x, t: (x, x)}, "got tuple"),
        ({"shape": (2, 3), "callback": lambda info: info.x[:1]}, r"expected the callback to return .* got \[1, 3\]"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(UsageError, match=message):
        run(**options)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float16], ids=str)
def test_nan_names_the_step_and_the_time(bad, dtype):
    def denoise(x, t):
        answer = torch.zeros_like(x)
        if float(t) == 0.5:
            answer[1, 0] = bad
        return answer

    with pytest.raises(UsageError, match=r"NaN or infinity at step 2 \(t = 0\.5\) on ou\(gamma=1\.5"):
        run(denoise=denoise, shape=(2, 3), dtype=dtype)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([1.0], "at least 2 times"),
        (torch.ones(2, 2), r"got shape \[2, 2\]"),
        ([0.1, 0.5, 1.0], "strictly decreasing"),
        ([1.0, 0.5, 0.5], "strictly decreasing"),
        ([1.0, math.nan], "strictly decreasing"),
        ([2.0, 0.5], r"within \[0, 1.0\] for ou"),
        ([1.0, -0.5], r"within \[0, 1.0\] for ou"),
        (torch.linspace(2, 0, 20), r"got 2, 1\.89474, 1\.78947, \.\.\., "),
    ],
)
def test_bad_times(grid, message):
    with pytest.raises(UsageError, match=message):
        sample(soft, OU, times=grid, solver=solvers.ddim(), shape=(1, 2))


def test_a_walk_takes_what_makes_noise_and_draws_from_it():
    class Ones:
        def on(self, path, grid, amounts, streams):
            return lambda out, i: out.fill_(1.0)

    options = {"shape": (1, 4), "generator": 0, "denoise": lambda x, t: torch.zeros_like(x)}
    walk = predictor_corrector(corrections=1)
    first, second = (run(walk, n=3, x=torch.zeros(1, 4), noise=Ones(), **options).x for _ in range(2))
    assert torch.equal(first, second)
    assert len(set(first.flatten().tolist())) == 1
    with pytest.raises(UsageError, match="a walk draws its own noise"):
        run(walk, n=3, noise="brownian", **options)

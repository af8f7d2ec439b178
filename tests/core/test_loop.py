"""What a step costs in operations and memory, and that the ways to combine it agree."""

import logging
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fewstep.core import paths, rng, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.loop import Loop
from fewstep.core.sample import StopSampling

VP, OU = paths.vp_linear(), paths.ou()
CORRECTED = solvers.multistep(3, "trig", corrector=True)


class Costs(TorchDispatchMode):
    """Counts operations, and new memory of at least a state's size."""

    def __init__(self, bytes_of_state):
        super().__init__()
        self.size, self.operations, self.allocated, self.known, self.kept = bytes_of_state, 0, 0, set(), []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.operations += 1
            for tensor in out if isinstance(out, tuple | list) else [out]:
                if isinstance(tensor, torch.Tensor):
                    self._note(tensor)
        return out

    def _note(self, tensor):
        storage = tensor.untyped_storage()
        if storage.nbytes() >= self.size and storage.data_ptr() not in self.known:
            self.known.add(storage.data_ptr())
            self.kept.append(tensor)
            self.allocated += storage.nbytes() / self.size


def costs(solver, n, *, shape=(2, 3, 64, 64), path=VP, **options):
    answer = torch.full(shape, 0.3)
    with Costs(answer.nbytes) as found:
        found.known.add(answer.untyped_storage().data_ptr())
        for given in options.values():
            if isinstance(given, torch.Tensor):
                found.known.add(given.untyped_storage().data_ptr())
        sample(
            lambda x, t: answer, path, times=times.uniform(path, n), solver=solver, shape=shape, generator=0, **options
        )
    return found


@pytest.mark.parametrize("items", [(2, 3, 64, 64), (2, 3, 16, 16)], ids=["large", "small"])
@pytest.mark.parametrize(
    ("solver", "most"),
    [
        (solvers.ddim(), 5),
        (solvers.dpmpp_2m(), 5),
        (solvers.multistep(3), 5),
        (solvers.multistep(3, "trig"), 5),
        (solvers.multistep(3, "eps"), 5),
        (solvers.heun(), 5 * 2),
        (solvers.multistep(3, corrector=True), 9),
        (CORRECTED, 9),
    ],
    ids=repr,
)
def test_a_step_costs_few_operations_and_no_memory(solver, most, items):
    few, many = (costs(solver, n, shape=items) for n in (8, 16))
    assert 0 < many.operations - few.operations <= 8 * most
    assert many.allocated == few.allocated


@pytest.mark.parametrize("solver", [solvers.dpmpp_2m(), solvers.multistep(3), CORRECTED], ids=repr)
@pytest.mark.parametrize("given", [False, True])
def test_memory_is_history_and_one_state(solver, given):
    depth = solver.tableau(VP, times.uniform(VP, 8)).history.shape[1]
    options = {"x": torch.ones(2, 3, 64, 64)} if given else {}
    assert costs(solver, 8, **options).allocated == depth + 1


def test_y_costs_one_more_state_and_noise_another():
    y = torch.ones(2, 3, 64, 64)
    assert costs(solvers.dpmpp_2m(), 8, path=OU, y=y).allocated == 2 + 1 + 1
    assert costs(solvers.multistep(2, eta=1.0), 8).allocated == 2 + 1 + 1
    assert costs(solvers.dpmpp_2m(), 9, path=OU, y=y).operations - costs(
        solvers.dpmpp_2m(), 8, path=OU, y=y
    ).operations in (3, 4, 5)


def reference(table, denoise, x, y):
    """The recurrence as the tableau states it, in u."""
    u, past = x - table.b[0] * y, []
    for i in range(table.rows):
        answer = denoise(u + table.b[i] * y, torch.tensor(table.times[i]))
        of_u, of_d, of_last = table.mix[i]
        past.insert(0, of_u * u + of_d * answer + (of_last * past[0] if past else 0))
        u = table.state[i] * u + sum(w * g for w, g in zip(table.history[i], past, strict=False))
    return u + table.b[-1] * y


ALL = [
    solvers.ddim(),
    solvers.multistep(3, corrector=True),
    solvers.multistep(3, "rho"),
    CORRECTED,
    solvers.heun("trig"),
    solvers.ghvb(2),
    solvers.heavy_ball(),
]


@pytest.mark.parametrize("solver", ALL, ids=repr)
@pytest.mark.parametrize("path", [VP, OU, paths.sb_ve(), paths.rectified_flow()], ids=lambda path: path.key)
@pytest.mark.parametrize("way", ["small", "large", "complex", "graph"])
def test_every_way_to_run_a_table_is_the_recurrence(solver, path, way):
    shape = (2, 8192) if way == "large" else (2, 5)
    dtype = torch.complex128 if way == "complex" else torch.float64
    x, y = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0), dtype=dtype)
    denoise, table = lambda x, t: torch.sin(x) + t, solver.tableau(path, times.uniform(path, 6))
    got = sample(denoise, path, solver=table, x=x, y=y, grad=way == "graph").x
    torch.testing.assert_close(got, reference(table, denoise, x, y), rtol=1e-11, atol=1e-11)


# half precision: the tails of vectorised operations round differently, so items of whole vectors there
@pytest.mark.parametrize("solver", [CORRECTED, solvers.multistep(3), solvers.ghvb(2)], ids=repr)
@pytest.mark.parametrize(
    ("dtype", "items"),
    [(torch.float32, 7), (torch.float32, 8199), (torch.float64, 8199), (torch.float16, 8256), (torch.bfloat16, 8256)],
)
def test_an_item_does_not_see_its_batch(solver, dtype, items):
    y = torch.linspace(-1, 1, 3 * items).reshape(3, items).to(dtype)
    options = {"times": times.uniform(OU, 4), "solver": solver}
    together = sample(lambda x, t: x.clamp(-0.5, 0.5), OU, y=y, seeds=[0, 1, 2], **options).x
    alone = [sample(lambda x, t: x.clamp(-0.5, 0.5), OU, y=y[i : i + 1], seeds=[i], **options).x for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("solver", ALL, ids=repr)
def test_a_denoiser_may_return_the_same_buffer_each_time(solver):
    x, buffer = torch.linspace(-1, 1, 6)[None], torch.empty(1, 6)
    options = {"times": times.uniform(VP, 5), "solver": solver, "x": x}
    reused = sample(lambda x, t: torch.tanh(x, out=buffer), VP, **options).x
    assert torch.equal(reused, sample(lambda x, t: torch.tanh(x), VP, **options).x)


@pytest.mark.parametrize("told", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("items", [3, 8200])
def test_an_answer_of_another_precision_is_taken(told, items):
    x = torch.linspace(-1, 1, items)[None]
    options = {"times": times.uniform(VP, 5), "solver": solvers.dpmpp_2m(), "x": x}
    got = sample(lambda x, t: torch.tanh(x).to(told), VP, **options).x
    exact = sample(lambda x, t: torch.tanh(x).to(told).float(), VP, **options).x
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, exact)


def test_huge_but_finite_answers_are_no_error():
    out = sample(
        lambda x, t: torch.full_like(x, 1e38), VP, times=times.uniform(VP, 2), solver=solvers.ddim(), shape=(1, 8)
    )
    torch.testing.assert_close(out.x, torch.full((1, 8), 1e38))


def test_nan_stops_at_once_and_what_the_callback_has_is_kept():
    asked, kept = [], []

    def denoise(x, t):
        asked.append(float(t))
        return x * (math.nan if float(t) < 0.6 else 0.5)

    with pytest.raises(UsageError, match=r"denoise returned NaN or infinity at step 2 \(t = 0\.5\) on vp_linear"):
        sample(
            denoise,
            VP,
            times=times.uniform(VP, 4),
            solver=solvers.dpmpp_2m(),
            shape=(1, 2),
            callback=lambda info: kept.append(info.x.clone()),
        )
    assert asked == [1.0, 0.75, 0.5]
    assert len(kept) == 2
    assert torch.isfinite(torch.stack(kept)).all()


def test_a_state_that_overflows_is_not_blamed_on_the_net():
    with pytest.raises(UsageError, match=r"the state became NaN or infinity at step 1"):
        sample(
            lambda x, t: torch.zeros_like(x),
            VP,
            times=times.uniform(VP, 4),
            solver=solvers.multistep(1, "eps"),
            x=torch.full((1, 3), 6e4, dtype=torch.float16),
        )


@pytest.mark.parametrize("solver", [solvers.ddim(), CORRECTED], ids=repr)
def test_a_stopped_run_does_not_hand_out_memory_that_moves_on(solver):
    def stop(info):
        raise StopSampling(info.denoised) if info.i == 1 else StopSampling

    out = sample(
        lambda x, t: x, VP, times=times.uniform(VP, 3), solver=solver, shape=(1, 2), generator=0, callback=stop
    )
    assert not out.x.is_inference()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda x, t: x.to(torch.complex64),
            "expected denoise to return real numbers like the state, got torch.complex64",
        ),
        (lambda x, t: x.to("meta"), "expected denoise to return a tensor on cpu like the state, got meta"),
    ],
)
def test_answers_that_cannot_be_written(answer, message):
    with pytest.raises(UsageError, match=message):
        sample(answer, VP, times=times.uniform(VP, 2), solver=solvers.ddim(), shape=(1, 2))


@pytest.mark.parametrize("grid", [[999, 500, 0], torch.tensor([999, 749, 499, 249, 0]), [1000.0, 1.0]])
def test_integer_timesteps_are_recognised(grid):
    with pytest.raises(UsageError, match=r"within \[0, 1.0\] .* these look like integer timesteps.*`times.trailing`"):
        sample(lambda x, t: x, VP, times=grid, solver=solvers.ddim(), shape=(1, 2))


def test_rising_times_say_so():
    with pytest.raises(UsageError, match=r"strictly decreasing .* it rises: pass times.flip\(0\)"):
        sample(lambda x, t: x, VP, times=[0.1, 0.5, 1.0], solver=solvers.ddim(), shape=(1, 2))


class Elsewhere(torch.Generator):
    """A generator that says it lives on another device."""

    device = torch.device("cuda")


def test_a_generator_on_the_wrong_device():
    with pytest.raises(UsageError, match="generators on the CPU or on cpu like the state, got one on cuda"):
        sample(lambda x, t: x, VP, times=[1.0, 0.0], solver=solvers.ddim(), x=torch.ones(1, 2), generator=[Elsewhere()])


def test_too_few_steps_for_the_order_are_said_once(caplog):
    def messages(n):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="fewstep"):
            sample(lambda x, t: x, VP, times=times.uniform(VP, n), solver=solvers.multistep(3), shape=(1, 2))
        return [record.getMessage() for record in caplog.records]

    assert messages(3) == []
    assert messages(2) == [
        "multistep(3, 'lambda'): 2 evaluations are too few for order 3; each step uses as many answers as there are"
    ]


def test_compile_needs_a_tableau_without_gradients():
    with pytest.raises(UsageError, match="compile=True needs a tableau and grad=False"):
        sample(lambda x, t: x, VP, times=[1.0, 0.5], solver=solvers.ddim(), shape=(1, 2), compile=True, grad=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.bfloat16], ids=str)
def test_compiled_is_the_same(dtype):
    y = torch.linspace(-1, 1, 24).reshape(2, 12).to(dtype)

    def denoise(x, t):
        return x / (1 + x.abs())

    options = {"times": times.uniform(OU, 6), "solver": CORRECTED, "y": y, "seeds": [0, 1]}
    plain, compiled = (sample(denoise, OU, **options, compile=flag).x for flag in (False, True))
    close = {"rtol": 0.02, "atol": 0.05} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(compiled, plain, **close)


@pytest.mark.parametrize("solver", [CORRECTED, solvers.dpmpp_2m(), solvers.ddpm(), solvers.heun()], ids=repr)
def test_off_the_cpu_the_loop_reads_no_tensor(solver):
    """A tensor on "meta" has no values: who asks for one fails, so nothing here can wait for a device."""
    x = torch.ones(2, 3, 8, 8, device="meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(x.sum())
    table = solver.tableau(VP, times.uniform(VP, 6))
    fill = rng.Independent().on(VP, None, None, rng.streams(0, 2))
    loop = Loop.of(lambda x, t: torch.tanh(x) * t, table, x, None, fill)
    assert sum(denoised.device.type == "meta" for _, denoised in loop.rows(range(table.rows))) == table.rows


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("solver", [CORRECTED, solvers.dpmpp_2m(), solvers.ddpm()], ids=repr)
def test_the_loop_never_waits_for_a_gpu(solver):
    x = torch.ones(2, 3, 8, 8, device="cuda")
    table = solver.tableau(VP, times.uniform(VP, 6))
    fill = rng.Independent().on(VP, None, None, rng.streams(0, 2))
    loop = Loop.of(lambda x, t: torch.tanh(x) * t, table, x, None, fill)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in loop.rows(range(table.rows)):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
    loop.verify(table.rows)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_loop_is_captured_as_a_cuda_graph():
    first = torch.linspace(-1, 1, 24, device="cuda").reshape(2, 12)
    table = CORRECTED.tableau(VP, times.uniform(VP, 6))
    fill = rng.Independent().on(VP, None, None, rng.streams(0, 2))
    x = first.clone()
    loop, graph = Loop.of(lambda x, t: torch.tanh(x) * t, table, x, None, fill), torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        list(loop.rows(range(table.rows)))
    torch.cuda.current_stream().wait_stream(stream)
    expected = x.clone()
    with torch.cuda.graph(graph):
        for _ in loop.rows(range(table.rows)):
            pass
    x.copy_(first)
    for slot in loop.slots:
        slot.zero_()
    graph.replay()
    torch.testing.assert_close(x, expected)

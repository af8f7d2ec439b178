import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill.progressive import progressive_target
from fewstep.core.distill.segment import jump

PATHS = [
    paths.vp_linear(), paths.vp_cosine(), paths.rectified_flow(), paths.ou(1.5, 0.05, 0.5), paths.edm(),
]  # fmt: skip


def teacher(x, t):
    return torch.tanh(x) * (1 - 0.3 * t.reshape(-1, 1).to(x.dtype))


def tensors(path):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.4, 0.6, 0.9], dtype=torch.float64) * path.t_max
    return x, y, t


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.key)
@pytest.mark.parametrize("end", [0.0, 0.3])
def test_one_step_with_the_target_equals_two_teacher_steps(path, end):
    x, y, t = tensors(path)
    middle, last = t * (1 + end) / 2, t * end
    target = progressive_target(teacher, path, x, t, middle, last, y)
    half = jump(path, x, teacher(x, t), t, middle, y)
    two = jump(path, half, teacher(half, middle), middle, last, y)
    torch.testing.assert_close(jump(path, x, target, t, last, y), two, rtol=1e-9, atol=1e-9)


def test_at_time_zero_the_target_is_the_clean_signal_itself():
    path = paths.vp_linear()
    x, _, t = tensors(path)
    target = progressive_target(teacher, path, x, t, t / 2, t * 0)
    half = jump(path, x, teacher(x, t), t, t / 2)
    torch.testing.assert_close(target, teacher(half, t / 2), rtol=1e-10, atol=1e-10)


def test_a_perfect_teacher_is_its_own_target():
    path = paths.vp_linear()
    x0 = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, _, t = tensors(path)
    target = progressive_target(lambda x, t: x0, path, x, t, t / 2, t * 0)
    torch.testing.assert_close(target, x0)


def test_no_gradient_reaches_the_teacher():
    x, _, t = tensors(PATHS[0])
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert not progressive_target(lambda x, t: weight * x, PATHS[0], x, t, t / 2, t * 0).requires_grad


@pytest.mark.parametrize(("middle", "end"), [(1.0, 0.0), (0.5, 0.5), (0.5, -0.1)])
def test_times_must_decrease(middle, end):
    x, _, t = tensors(PATHS[0])
    with pytest.raises(ValueError, match="t > t_mid > t_end >= 0"):
        progressive_target(teacher, PATHS[0], x, t, t * middle, t * end)

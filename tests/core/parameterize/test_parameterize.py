"""Each parameterisation, there and back, on every path; and what the nets are called with."""

import pytest
import torch

from fewstep.benchmarks.core import PATHS
from fewstep.core import parameterize, paths
from fewstep.core.errors import UsageError

KINDS = parameterize.KINDS


def drawn(dtype=torch.float64, n=5):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(n, 3, 2, generator=generator, dtype=dtype) for _ in range(3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("with_y", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_round_trip(path, kind, with_y, dtype):
    p = PATHS[path]()
    x0, eps, y = drawn(dtype)
    y = y if with_y else None
    t = torch.linspace(0.05, 0.93, 5, dtype=torch.float64) * p.t_max
    x, said = p.sample(x0, eps, t, y), parameterize.target(kind, p, x0, eps, t, y)
    torch.testing.assert_close(parameterize.to_x0(kind, p, said, x, t, y), x0, rtol=1e-9, atol=1e-9)
    for i in range(5):
        part = slice(i, i + 1)
        denoise = getattr(parameterize, kind)(lambda x, t, i=part: said[i], p, y=None if y is None else y[part])
        torch.testing.assert_close(denoise(x[part], t[i]), x0[part], rtol=1e-9, atol=1e-9)


def test_targets_are_what_they_are_called():
    p = paths.ou()
    x0, eps, y = drawn()
    t = torch.full((), 0.4, dtype=torch.float64)
    a, b, s = p.coefficients(t)
    x = p.sample(x0, eps, t, y)
    assert parameterize.target("x0", p, x0, eps, t, y) is x0
    assert parameterize.target("eps", p, x0, eps, t, y) is eps
    torch.testing.assert_close(parameterize.target("score", p, x0, eps, t, y), -(x - a * x0 - b * y) / s**2)
    after, before = (p.sample(x0, eps, t + h, y) for h in (1e-6, -1e-6))
    torch.testing.assert_close(
        parameterize.target("flow", p, x0, eps, t, y), (after - before) / 2e-6, rtol=1e-7, atol=1e-7
    )
    vp = paths.vp_linear()
    a, _, s = vp.coefficients(t)
    torch.testing.assert_close(parameterize.target("v", vp, x0, eps, t), a * eps - s * x0)


def test_flow_of_a_rectified_flow_is_eps_minus_x0():
    x0, eps, _ = drawn()
    got = parameterize.target("flow", paths.rectified_flow(), x0, eps, torch.rand(5))
    torch.testing.assert_close(got, eps - x0)


def test_flow_reads_x0_where_a_is_zero():
    x0, eps, _ = drawn()
    p = paths.rectified_flow()
    torch.testing.assert_close(parameterize.to_x0("flow", p, eps - x0, eps, 1.0), x0)


@pytest.mark.parametrize("path", PATHS)
def test_edm_is_the_published_preconditioning(path):
    """D = c_skip x + c_out F(c_in x, log(sigma)/4) in x = u/a, sigma = s/a; its input and target have unit variance."""
    p, sd = PATHS[path](), 0.4
    x0, eps, y = drawn()
    t = torch.tensor(0.3 * p.t_max, dtype=torch.float64)
    a, b, s = p.coefficients(t)
    x, sigma = p.sample(x0, eps, t, y), s / a
    scaled = (x - b * y) / a
    c_skip = sd**2 / (sigma**2 + sd**2)
    c_out = sigma * sd / (sigma**2 + sd**2).sqrt()
    seen = {}

    def net(x, c_noise):
        seen.update(x=x, c_noise=c_noise)
        return (x0 - c_skip * scaled) / c_out

    torch.testing.assert_close(parameterize.edm(net, p, sd, y=y)(x, t), x0)
    torch.testing.assert_close(seen["x"], scaled / (sigma**2 + sd**2).sqrt())
    torch.testing.assert_close(seen["c_noise"], (torch.log(sigma) / 4).expand(5))


@pytest.mark.parametrize("kind", [*KINDS, "edm"])
def test_nets_get_one_time_per_item_and_cond_if_there_is_one(kind):
    calls = []

    def net(x, t, *cond):
        calls.append((t, cond))
        return x

    make, x = getattr(parameterize, kind), torch.zeros(3, 2)
    make(net, paths.vp_linear(), net_time=lambda t: 1000 * t)(x, torch.tensor(0.5))
    make(net, paths.vp_linear(), cond="text", net_time=lambda t: t)(x, torch.tensor([0.1, 0.2, 0.3]))
    assert calls[0][0].tolist() == [500, 500, 500]
    assert calls[0][1] == ()
    assert calls[1][0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert calls[1][1] == ("text",)
    assert make.__doc__
    assert make.__name__ == kind


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.complex64], ids=str)
@pytest.mark.parametrize("kind", [*KINDS, "edm"])
def test_precision_is_kept(kind, dtype):
    denoise = getattr(parameterize, kind)(lambda x, t: x, paths.vp_linear())
    for t in (torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64), torch.tensor([0.2, 0.7])):
        assert denoise(torch.ones(2, 3, dtype=dtype), t).dtype == dtype


def test_errors():
    x = torch.zeros(1, 2)
    with pytest.raises(UsageError, match="out of eps, x0, v, score, flow, got 'epsilon'"):
        parameterize.target("epsilon", paths.edm(), x, x, 1.0)
    with pytest.raises(UsageError, match="got 'edm'"):
        parameterize.to_x0("edm", paths.edm(), x, x, 1.0)
    with pytest.raises(UsageError, match="sigma_data > 0"):
        parameterize.edm(lambda x, t: x, paths.edm(), 0.0)

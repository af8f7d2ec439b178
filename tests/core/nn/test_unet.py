import pytest
import torch

from fewstep.core import parameterize, paths
from fewstep.core.errors import UsageError
from fewstep.core.nn.preconditioned import Preconditioned, edm_weight
from fewstep.core.nn.unet import UNet


def _net(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet(2, 2, widths=(8, 16), **options).double()
        torch.nn.init.normal_(net.leave[-1].weight, std=0.1)
    return net.eval().requires_grad_(False)


def _randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (7, 13), (16, 16), (33, 10)])
@pytest.mark.parametrize("options", [{}, {"unshuffle": 1, "blocks": 2}, {"middle_attention": True}])
def test_answers_have_the_size_of_the_image(size, options):
    x = _randn(2, 2, *size)
    out = _net(**options)(x, torch.zeros(2))
    assert out.shape == x.shape
    assert bool(torch.isfinite(out).all())


def test_items_do_not_see_each_other():
    net, x, told = _net(middle_attention=True), _randn(3, 2, 12, 9), _randn(3, seed=1)
    alone = torch.cat([net(x[i : i + 1], told[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(net(x, told), alone, rtol=1e-10, atol=1e-12)


def test_noise_level_and_condition_are_read():
    net, x = _net(cond_channels=3), _randn(1, 2, 8, 8)
    for block in net.middle:
        torch.nn.init.normal_(block.second.weight, std=0.1)
    cond = _randn(1, 3, 8, 8, seed=2).requires_grad_()
    one, other = (net(x, torch.tensor(value), cond) for value in (-1.0, 0.5))
    assert float((one - other).detach().abs().max()) > 1e-6
    one.sum().backward()
    assert float(cond.grad.abs().min()) > 0


def test_padding_leaves_whole_images_alone():
    net, x = _net(), _randn(1, 2, 8, 12)
    padded = torch.nn.functional.pad(x[..., :7, :11], (0, 1, 0, 1), mode="replicate")
    torch.testing.assert_close(net(x[..., :7, :11], torch.zeros(1)), net(padded, torch.zeros(1))[..., :7, :11])


def test_every_weight_gets_a_gradient():
    net = _net(cond_channels=1, middle_attention=True).requires_grad_(True)
    torch.nn.init.normal_(net.attention.join.weight)
    for name, value in net.named_parameters():
        if name.endswith("second.weight"):
            torch.nn.init.normal_(value, std=0.1)
    net(_randn(2, 2, 8, 8), _randn(2), _randn(2, 1, 8, 8)).square().mean().backward()
    assert [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (12,)}, "multiples of 8"),
        ({"widths": ()}, "positive sizes"),
        ({"blocks": 0}, "positive sizes"),
    ],
)
def test_sizes_that_make_no_net_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        UNet(**options)


@pytest.mark.parametrize(("channels", "cond"), [(0, torch.zeros(1, 1, 8, 8)), (1, None)])
def test_a_condition_comes_if_and_only_if_it_is_expected(channels, cond):
    with pytest.raises(UsageError, match="condition of"):
        _net(cond_channels=channels)(_randn(1, 2, 8, 8), torch.zeros(1), cond)


def test_preconditioned_is_the_adapter_as_a_module():
    path, inner, x = paths.vp_linear(), _net(), _randn(2, 2, 8, 8)
    t = torch.tensor([0.1, 0.9], dtype=torch.float64)
    wanted = parameterize.edm(inner, path, 0.7)(x, t)
    assert torch.equal(parameterize.x0(Preconditioned(inner, path, sigma_data=0.7), path)(x, t), wanted)


def test_the_weight_makes_the_loss_of_an_ignorant_net_one():
    """F = 0 errs by x0 - c_skip u/a; times 1/c_out its variance is that of the data's unit, whatever the noise."""
    path = paths.vp_linear()
    generator = torch.Generator().manual_seed(0)
    x0 = 0.4 * torch.randn(20000, dtype=torch.float64, generator=generator)
    eps = torch.randn(20000, dtype=torch.float64, generator=generator)
    for t in (0.02, 0.4, 0.95):
        t = torch.full((20000,), t, dtype=torch.float64)
        answer = parameterize.edm(lambda x, c: torch.zeros_like(x), path, 0.4)(path.sample(x0, eps, t), t)
        loss = (edm_weight(path, t, sigma_data=0.4) * (answer - x0).square()).mean()
        assert float(loss) == pytest.approx(1, rel=0.03)


def test_sigma_data_is_positive():
    with pytest.raises(UsageError, match="sigma_data > 0"):
        Preconditioned(_net(), paths.vp_linear(), sigma_data=0.0)

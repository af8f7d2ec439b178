"""Nets: complex in and out at any size, the start at first where they say so, trained through gradients."""

import pytest
import torch

from fewstep.core import paths
from fewstep.core.errors import UsageError
from fewstep.core.nn.preconditioned import Preconditioned
from fewstep.mri.data.paired import draw
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.methods import CgSense, Regression
from fewstep.mri.models.condition import condition
from fewstep.mri.models.consistency import DataConsistency, cplx, real
from fewstep.mri.models.others import FastMriUnet, FastMriVarNet, MonaiNet
from fewstep.mri.models.primal_dual import FourierPrimalDual
from fewstep.mri.models.prior import ComplexUNet
from fewstep.mri.models.resnet import ReconResNet
from fewstep.mri.models.unrolled import Unrolled

SLICES = SyntheticSlices(size=48, share_heads=0)


def small_prior(cond_channels=0):
    path = paths.edm(sigma_min=0.003, sigma_max=20.0)
    return Preconditioned(ComplexUNet(widths=(8, 16), cond_channels=cond_channels), path, sigma_data=0.35)


def make(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name in ("unet", "varnet"):
            pytest.importorskip("fastmri")
        if name == "monai":
            pytest.importorskip("monai")
        return {
            "resnet": lambda: ReconResNet(width=4, blocks=1),
            "primal_dual": lambda: FourierPrimalDual(primal=2, dual=1, iterations=2, width=8),
            "unrolled": lambda: Unrolled(small_prior(), paths.edm(), steps=2, iterations=3),
            "unet": lambda: FastMriUnet(chans=4, pools=2),
            "varnet": lambda: FastMriVarNet(cascades=2, chans=4, pools=2),
            "monai": lambda: MonaiNet(options={"features": (4, 4, 8, 8, 8, 4)}),
        }[name]()


NAMES = ["resnet", "primal_dual", "unrolled", "unet", "varnet", "monai"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_regressors_answer_complex_images_and_learn(name):
    """A few steps on one scan bring the answer nearer to the slice: gradients reach every weight that matters."""
    net, pair = make(name), draw(SLICES, 6)
    problem, start = pair.one.problem, pair.one.sense
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        loss = (net(problem, start) - pair.x0).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert min(losses[4:]) < losses[0]
    without = [n for n, p in net.named_parameters() if p.grad is None]
    assert without == []
    result = Regression(net=net.eval())(problem, seed=0)
    assert result.image.dtype == torch.complex64
    assert result.image.shape == (1, 48, 48)
    assert result.samples is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_regressors_take_odd_sizes(name):
    pair = draw(SLICES, 6)
    problem = pair.one.problem
    cut = (slice(None), slice(None), slice(0, 45), slice(0, 47))
    mask = problem.mask.expand(48, 48)[:45, :47]
    small = type(problem)(problem.kspace[cut] * mask, mask, problem.coil_maps[cut], problem.noise_std)
    with torch.no_grad():
        assert make(name).eval()(small, pair.one.sense[:, :45, :47]).shape == (1, 45, 47)


def test_the_primal_dual_net_starts_as_the_identity():
    pair = draw(SLICES, 2)
    torch.testing.assert_close(make("primal_dual")(pair.one.problem, pair.one.sense), pair.one.sense)


def test_consistency_reduces_the_residual():
    pair = draw(SLICES, 3)
    problem = pair.one.problem
    layer, back = DataConsistency(steps=5), problem.A.H(problem.kspace)
    before = torch.zeros_like(pair.x0)
    assert float(problem.residual(layer(before, problem, back).detach())) < float(problem.residual(before))


def test_unrolling_is_the_sampler_with_a_gradient_through_all_steps():
    """Recomputed or kept, the gradient with respect to the first sigma is the same, and not zero."""
    pair, found = draw(SLICES, 4), []
    for recompute in (True, False):
        net = make("unrolled")
        with torch.random.fork_rng():
            torch.manual_seed(1)
            for p in net.net.inner.net.leave.parameters():
                torch.nn.init.normal_(p, std=0.1)
        net.recompute = recompute
        (net(pair.one.problem, pair.one.sense) - pair.x0).abs().square().mean().backward()
        found.append(net.log_sigma.grad.clone())
        assert net.log_trust.grad is not None
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-7)
    assert bool((found[0] != 0).all())


def test_complex_images_are_two_channels_each():
    x = torch.randn(2, 3, 4, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cplx(real(x)), x)
    assert torch.equal(real(x)[:, 2], x[:, 1].real)


def test_the_condition_says_what_was_measured():
    pair = draw(SLICES, 5)
    planes = condition(pair.one)
    assert torch.equal(planes[:, 0], pair.one.sense.real)
    assert bool((planes[:, 4:] == planes[:, 4:, :1, :1]).all())
    net = small_prior(cond_channels=6)
    assert net(pair.x0, torch.tensor([0.2]), planes).shape == pair.x0.shape
    with pytest.raises(UsageError, match="condition of 6 channels"):
        net(pair.x0, torch.tensor([0.2]))


@pytest.mark.parametrize(
    "build, says",
    [
        (lambda: Unrolled(small_prior(), paths.edm(), steps=0), "at least one step"),
        (lambda: MonaiNet(name="NoSuchNet"), "a net of monai.networks.nets"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_options_are_refused(build, says):
    pytest.importorskip("monai")
    with pytest.raises(UsageError, match=says):
        build()


def test_cg_sense_is_where_regressors_start():
    pair = draw(SLICES, 1)
    torch.testing.assert_close(CgSense()(pair.one.problem).image, pair.one.sense, rtol=1e-3, atol=1e-4)

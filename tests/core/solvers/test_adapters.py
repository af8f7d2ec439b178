"""Our solvers in diffusers' pipelines, and k-diffusion's models in ours."""

import pytest
import torch

from fewstep.core import parameterize, paths, sample, solvers, times
from fewstep.core.errors import UsageError

TABLE = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
PATH = paths.vp_table(TABLE)


def net(x, t):
    return torch.tanh(x + 1e-3 * t.reshape(-1, *[1] * (x.ndim - 1)))


def run(scheduler, x, n, **options):
    scheduler.set_timesteps(n)
    for t in scheduler.timesteps:
        x = scheduler.step(net(scheduler.scale_model_input(x, t), t), t, x, **options).prev_sample
    return x


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


@pytest.mark.parametrize(
    "solver",
    [solvers.ddim(), solvers.dpmpp_2m(), solvers.unipc(3), solvers.heun(), solvers.ghvb(3), solvers.dpmpp_2s()],
    ids=lambda solver: solver.name,
)
def test_scheduler_is_our_sample(diffusers, solver):
    x = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3)
    scheduler = solvers.as_diffusers_scheduler(solver, PATH)
    assert isinstance(scheduler, diffusers.SchedulerMixin)
    denoise = parameterize.eps(net, PATH, net_time=times.timesteps(PATH))
    ours = sample(denoise, PATH, times=times.trailing(PATH, 7), solver=solver, x=x).x
    for _ in range(2):
        torch.testing.assert_close(run(scheduler, x, 7), ours, rtol=1e-6, atol=1e-6)
    assert scheduler.order == (2 if solver.name.startswith(("heun", "dpmpp_2s")) else 1)


@pytest.mark.slow
def test_pipeline(diffusers):
    """A tiny U-Net in a stock DDPMPipeline gives the picture that `sample` gives."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()
    pipeline = diffusers.DDPMPipeline(unet, solvers.as_diffusers_scheduler(solvers.dpmpp_3m(), PATH))
    pipeline.set_progress_bar_config(disable=True)
    seed = torch.Generator().manual_seed(3)
    image = pipeline(batch_size=2, generator=seed, num_inference_steps=6, output_type="np").images
    x = torch.randn((2, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    denoise = parameterize.eps(lambda x, t: unet(x, t).sample, PATH, net_time=times.timesteps(PATH, integer=True))
    ours = sample(denoise, PATH, times=times.trailing(PATH, 6), solver=solvers.dpmpp_3m(), x=x).x
    expected = (ours / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert abs(image - expected).max() < 1e-4
    assert expected.std() > 0.1


def test_scheduler_in_the_middle(diffusers):
    """Image-to-image: from a later timestep the run is that of the shorter grid."""
    solver, x = solvers.dpmpp_2m(), torch.linspace(-1, 1, 4, dtype=torch.float64)[None]
    grid = times.trailing(PATH, 8)
    denoise = parameterize.eps(net, PATH, net_time=times.timesteps(PATH))
    ours = sample(denoise, PATH, times=grid[3:], solver=solver, x=x).x
    for told in (True, False):
        scheduler = solvers.as_diffusers_scheduler(solver, PATH)
        scheduler.set_timesteps(8)
        if told:
            scheduler.set_begin_index(3)
        state = x
        for t in scheduler.timesteps[3:]:
            (state,) = scheduler.step(net(state, t), t, state, return_dict=False)
        torch.testing.assert_close(state, ours, rtol=1e-6, atol=1e-6)


def test_scheduler_facts(diffusers):
    scheduler = solvers.as_diffusers_scheduler(solvers.sde_dpmpp_2m(), PATH, parameterization="v")
    assert len(scheduler) == 1000
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.init_noise_sigma == pytest.approx(1, abs=1e-4)
    x0, eps = torch.full((2, 3), 2.0), torch.full((2, 3), 1.0)
    noisy = scheduler.add_noise(x0, eps, torch.tensor([0, 999]))
    torch.testing.assert_close(noisy[:, 0].double(), 2 * TABLE[[0, 999]].sqrt() + (1 - TABLE[[0, 999]]).sqrt())
    one, two = (run(scheduler, x0, 5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1))
    assert torch.equal(one, two)
    scheduler.set_timesteps(timesteps=[900, 500, 100])
    assert scheduler.timesteps.tolist() == [900, 500, 100]
    scheduler.set_timesteps(sigmas=torch.sqrt(1 / TABLE[[999, 400]] - 1))
    assert scheduler.timesteps.tolist() == [999, 400]
    half = scheduler.step(x0.half(), 999, x0.half()).prev_sample
    assert half.dtype == torch.float16


def test_flow_matching(diffusers):
    path = paths.rectified_flow()
    scheduler = solvers.as_diffusers_scheduler(solvers.euler(), path, parameterization="flow")
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [1000, 750, 500, 250]
    x = torch.ones(1, 2)
    out = scheduler.step(torch.full_like(x, 2.0), 1000, x).prev_sample
    torch.testing.assert_close(out, x - 0.25 * 2)
    scheduler.set_timesteps(sigmas=[1.0, 0.8, 0.3])
    torch.testing.assert_close(scheduler.timesteps.double(), torch.tensor([1000.0, 800.0, 300.0]).double())


def test_scheduler_errors(diffusers):
    with pytest.raises(UsageError, match="pipelines have no y"):
        solvers.as_diffusers_scheduler(solvers.ddim(), paths.ou())
    with pytest.raises(UsageError, match="a parameterization out of eps, x0, v, score, flow, got 'epsilon'"):
        solvers.as_diffusers_scheduler(solvers.ddim(), PATH, parameterization="epsilon")
    scheduler = solvers.as_diffusers_scheduler(solvers.ddim(), PATH)
    with pytest.raises(UsageError, match="num_inference_steps, timesteps or sigmas, got none"):
        scheduler.set_timesteps()
    run(scheduler, torch.ones(1, 1), 2)
    with pytest.raises(UsageError, match="all 2 rows are done"):
        scheduler.step(torch.ones(1, 1), 0, torch.ones(1, 1))


@pytest.mark.parametrize("path", [paths.edm(), paths.vp_linear()], ids=["edm", "vp"])
def test_from_k_diffusion(path):
    """A model that knows sigma only samples the same data on every path."""
    seen = []

    def model(x, sigma, gain):
        seen.append(sigma.shape)
        return gain * x / (1 + sigma.reshape(-1, 1) ** 2)

    denoise = solvers.from_k_diffusion(model, path, gain=1.0)
    lam = torch.linspace(-2, 3, 9, dtype=torch.float64)
    a = path.coefficients(path.inverse(lam[[0, -1]]))[0]
    x = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    out = sample(
        denoise, path, times=path.inverse(lam), solver=solvers.multistep(2, "trig", sigma_data=1.0), x=a[0] * x
    )
    sigma = torch.exp(-lam[[0, -1]])
    expected = x * torch.sqrt((1 + sigma[1] ** 2) / (1 + sigma[0] ** 2))
    torch.testing.assert_close(out.x / a[1], expected, rtol=1e-10, atol=1e-10)
    assert set(seen) == {(2,)}
    with pytest.raises(UsageError, match="know no y"):
        solvers.from_k_diffusion(model, paths.ou())

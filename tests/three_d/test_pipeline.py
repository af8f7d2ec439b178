import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from fewstep.core import rng, solvers, times
from fewstep.core.errors import UsageError
from fewstep.three_d import pretrained
from fewstep.three_d.pipeline import FURTHER, Options, Told, generate, latents, structures
from fewstep.three_d.pretrained import autoencoder, packed


@pytest.fixture(scope="module")
def models(tiny):
    return pretrained.load(tiny / "flow")


def _told(*words):
    ids = np.zeros(16, np.int64)
    ids[: len(words)] = words
    return Told(words=ids)


def test_a_shape_is_a_function_of_its_condition_and_seed(models):
    alone = generate(models, [_told(5, 9)], seeds=[4])[0]
    among = generate(models, [_told(1), _told(5, 9), _told(7, 2, 3)], seeds=[8, 4, 1])[1]
    np.testing.assert_allclose(alone.field.sdf, among.field.sdf, atol=2e-4)
    np.testing.assert_allclose(alone.field.colour, among.field.colour, atol=2e-4)
    assert alone.cells == among.cells


@pytest.fixture(scope="module")
def student(models):
    """Both stages sampled as students are that jump to the end and put noise back."""
    again = [dataclasses.replace(part, solver=solvers.consistency()) for part in (models.structure, models.slat)]
    config = {key: value for key, value in models.config.items() if key != "guidance_scale"}
    return dataclasses.replace(models, structure=again[0], slat=again[1], config=config)


def test_new_noise_of_a_step_depends_on_the_seed_alone(student, models):
    told, options = [_told(1), _told(5, 9), _told(7, 2, 3)], Options(steps=3)
    alone = generate(student, told[1:2], seeds=[4], options=options)[0]
    among = generate(student, told, seeds=[8, 4, 1], options=options)[1]
    np.testing.assert_allclose(alone.field.sdf, among.field.sdf, atol=2e-4)
    assert alone.cells == among.cells
    still = generate(models, told[1:2], seeds=[4], options=Options(steps=3, guidance_scale=1))[0]
    assert alone.cells != still.cells or np.abs(alone.field.sdf - still.field.sdf).max() > 1e-3


@pytest.mark.parametrize("own", [None, 9.0])
def test_two_steps_are_a_jump_new_noise_and_a_jump(student, monkeypatch, own):
    """The first stage, with the shift of all or its own, against the loop written out; the decoder shows it."""
    seen = []
    if own:
        config = {**student.structure.config, "shift": own}
        student = dataclasses.replace(student, structure=dataclasses.replace(student.structure, config=config))
    monkeypatch.setattr(type(student.structure_vae), "restored", lambda self, z: seen.append(z) or z)
    structures(student, [_told(3, 8)], [6], Options(steps=2))
    ids, model, vae = torch.from_numpy(_told(3, 8).words)[None], student.structure, student.structure_vae
    size = model.net.condition.picture
    denoise = model.denoise(cond={"words": ids, "image": torch.zeros(1, 4, size, size)})
    shape = (1, vae.latent, *[vae.side] * 3)
    z, new = (rng.normal(shape, [rng.generator(6, *keys)], torch.float32, "cpu") for keys in ((1,), (1, 1)))
    t = float(times.shift(times.uniform(model.path, 2), own or float(student.config["shift"]))[1])
    with torch.no_grad():
        middle = (1 - t) * denoise(z, torch.ones(1)) + t * new
        torch.testing.assert_close(seen[0], denoise(middle, torch.tensor([t])), rtol=1e-4, atol=1e-4)


def test_another_seed_and_another_prompt_give_another_shape(models):
    draws = generate(models, [_told(5, 9), _told(5, 9), _told(6)], seeds=[4, 5, 4])
    first = draws[0].field.sdf
    assert all(np.abs(first - other.field.sdf).max() > 1e-3 for other in draws[1:])


def test_the_noise_of_a_cell_does_not_depend_on_the_other_cells(models):
    some = torch.tensor([[0, 1, 2], [3, 3, 3]])
    more = torch.tensor([[0, 0, 0], [0, 1, 2], [3, 3, 3], [5, 5, 5]])
    free = dataclasses.replace(models, slat=_still(models.slat))
    few = latents(free, [_told(1)], [some], [3], Options(guidance_scale=1))[0]
    many = latents(free, [_told(1)], [more], [3], Options(guidance_scale=1))[0]
    torch.testing.assert_close(few[0], many[0, 1:3])


def test_temperature_is_of_the_noise_at_the_start(models, student):
    def cells(seed, models, **options):
        return structures(models, [_told(1)], [seed], Options(guidance_scale=1, **options))[0][0].tolist()

    assert cells(1, models, temperature=0.0) == cells(2, models, temperature=0.0)
    assert cells(1, models, temperature=1.0) == cells(1, models) != cells(2, models)
    assert cells(1, student, steps=2, temperature=0.0) != cells(
        2, student, steps=2, temperature=0.0
    )  # the second step's
    own = dataclasses.replace(models, config={**models.config, "temperature": 0.5})
    assert cells(1, own) == cells(1, models, temperature=0.5) != cells(1, models)
    assert cells(1, own, temperature=1.0) == cells(1, models)
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="temperature is at least 0"):
            cells(1, models, temperature=bad)


def test_calls_are_counted_and_guidance_keeps_to_its_interval(models):
    grid = times.shift(times.uniform(models.slat.path, 3), 3.0)
    guided = int((grid[:-1] >= 0.5).sum())
    draw = generate(models, [_told(1)], seeds=[0])[0]
    assert draw.nfe == 2 * (3 + guided)
    assert generate(models, [_told(1)], seeds=[0], options=Options(guidance_scale=1, steps=2))[0].nfe == 4


def test_euler_steps_on_the_shifted_times(models):
    """The first stage against the sampler of TRELLIS written out: x <- x - (t - r) v, guided by (1 + w) c - w u."""
    told, model = [_told(3, 8)], models.structure
    ids = torch.from_numpy(told[0].words)[None]
    blank = torch.zeros(1, 4, 32, 32)
    cells, _ = structures(models, told, [7], Options(steps=4))
    x = rng.normal((1, 4, 2, 2, 2), [rng.generator(7, 1)], torch.float32, "cpu")
    u = torch.linspace(1, 0, 5, dtype=torch.float64)
    grid = 3 * u / (1 + 2 * u)
    for t, r in pairwise(grid):
        now = t.float()[None]
        c = model.net(x, now, {"words": ids, "image": blank})
        n = model.net(x, now, {"words": torch.zeros_like(ids), "image": blank})
        v = 2 * c - n if 0.5 <= t <= 1 else c
        x = x - (t - r).float() * v
    vae = models.structure_vae
    expected = torch.nonzero(vae.decode(vae.restored(x))[0, 0] > 0)
    torch.testing.assert_close(cells[0], expected)


def test_a_shape_without_cells_takes_the_next_seed_and_then_says_so(models):
    class Emptied:
        def __init__(self, vae, after):
            self.vae, self.after, self.calls = vae, after, 0

        def __getattr__(self, name):
            return getattr(self.vae, name)

        def decode(self, z):
            self.calls += 1
            found = self.vae.decode(z)
            return -torch.ones_like(found) if self.calls <= self.after else torch.ones_like(found)

    once = dataclasses.replace(models, structure_vae=Emptied(models.structure_vae, 1))
    draw = generate(once, [_told(1)], seeds=[11])[0]
    assert draw.seed == 11 + FURTHER
    assert "seed 11" in draw.notes[0]
    never = dataclasses.replace(models, structure_vae=Emptied(models.structure_vae, 99))
    with pytest.raises(UsageError, match="no shape after 3 seeds"):
        generate(never, [_told(1)], seeds=[0], retries=2)


def test_a_picture_is_read(models):
    picture = np.zeros((32, 32, 4), np.float32)
    picture[8:24, 8:24] = (1, 0, 0, 1)
    blank, seen = generate(models, [_told(1), Told(image=picture)], seeds=[0, 0])
    assert np.abs(blank.field.sdf - seen.field.sdf).max() > 1e-3
    with pytest.raises(UsageError, match=r"expected a picture \[32, 32, 4\]"):
        generate(models, [Told(image=picture[:16])], seeds=[0])


def test_wrong_use_is_refused(models, tiny, tmp_path):
    with pytest.raises(UsageError, match="one seed per condition"):
        generate(models, [_told(1)], seeds=[])
    with pytest.raises(UsageError, match="steps is at least 1"):
        generate(models, [_told(1)], seeds=[0], options=Options(steps=-1))
    first = dataclasses.replace(models.structure, config=dict(models.structure.config) | {"distilled": "x"})
    student = dataclasses.replace(models, structure=first)
    with pytest.raises(UsageError, match="guidance built in"):
        generate(student, [_told(1)], seeds=[0], options=Options(guidance_scale=3))
    with pytest.raises(UsageError, match="kind"):
        pretrained.load(tiny / "vae")
    with pytest.raises(UsageError, match="kind"):
        autoencoder(tiny / "flow", "slat")
    with pytest.raises(UsageError, match="kind"):
        packed(tmp_path / "x", structure=tiny / "slat_vae", slat=tiny / "slat_vae")


@pytest.mark.parametrize("stage", ["structure", "slat"])
def test_autoencoders_alone_or_together_are_the_same(tiny, stage):
    both, alone = autoencoder(tiny / "vae", stage), autoencoder(tiny / f"{stage}_vae", stage)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, both.state_dict()[name])


def _still(model):
    """The same model with a net that answers 0, so that samples are what they started from."""

    class Zero(torch.nn.Module):
        condition, sparse = model.net.condition, model.net.sparse

        def tell(self, cond):
            return model.net.tell(cond)

        def forward(self, x, t, cond):
            return torch.zeros_like(x)

    return dataclasses.replace(model, net=Zero())

"""The models that ship do what their cards say."""

import numpy as np
import pytest
import torch

from fewstep.benchmarks import _solids
from fewstep.core.checkpoint import sha256
from fewstep.core.hub import resolve, shipped
from fewstep.three_d import pretrained
from fewstep.three_d.api import ShapeGenerator
from fewstep.three_d.corpus import make

NAMES = ("shapes-vae", "shapes-flow", "shapes-mdt", "shapes-judge")
PROMPTS = (
    "a red chair", "a round blue table with one leg", "a white mug", "a green house", "a yellow car", "a brown shelf",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_card(name):
    folder = resolve(name)
    assert sha256(folder / "model.safetensors") in (folder / "CARD.md").read_text(encoding="utf-8")
    assert (folder / "model.safetensors").stat().st_size < 12e6
    assert name in dict(shipped())


@pytest.mark.parametrize(
    ("name", "steps", "calls"), [("shapes-mdt", 1, 1), ("shapes-mdt", 2, 1), ("shapes-flow", 6, 2)]
)
def test_words_give_the_kind_they_name(name, steps, calls):
    made, draws = _solids.generated(pretrained.load(name), PROMPTS, steps)
    answers = [answer["kind"] for answer in made.judged(_solids.judge())[0]]
    right = sum(answer in prompt for answer, prompt in zip(answers, PROMPTS, strict=True))
    assert right >= len(PROMPTS) - 1, list(zip(PROMPTS, answers, strict=True))
    assert all(draw.nfe == 2 * steps * calls for draw in draws)


def test_one_step_makes_a_closed_mesh_of_one_piece():
    shape = ShapeGenerator.load("shapes-mdt")("a tall red chair with four white legs", steps=1, seed=1)
    assert shape.mesh.watertight
    assert shape.nfe == 2


def test_autoencoders_bring_held_out_shapes_back():
    models = pretrained.load("shapes-mdt")
    lattice, vae = models.lattice, models.slat_vae
    found = []
    for i in range(6):
        cells = lattice.take(make(i, seed=1))
        sdf, colour = (torch.from_numpy(value)[None] for value in (cells.sdf, cells.colour))
        coords = torch.from_numpy(cells.coords)[None]
        mask = torch.ones(coords.shape[:2], dtype=torch.bool)
        with torch.inference_mode():
            back, _ = vae.decode(vae.encode(sdf, colour, coords, mask)[0], coords, mask)
        truth = lattice.fill(cells).sdf < 0
        made = lattice.fill(type(cells)(cells.coords, back[0].numpy(), cells.colour)).sdf < 0
        found.append((truth & made).sum() / (truth | made).sum())
    assert np.mean(found) > 0.95

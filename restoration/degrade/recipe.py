"""Degradations as plain data: a recipe is a list of named steps, and a picture with a seed gives one result.

    recipe = {"task": "sr", "scale": 4, "steps": [{"op": "resize", "scale": 0.25}, {"op": "quantize"}]}

Step i draws from the stream (seed, i), so the same recipe and seed always give the same picture. Recipes are stored as
YAML, and travel in the config of every checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from fewstep.core import rng
from fewstep.core.build import did_you_mean
from fewstep.core.errors import UsageError
from fewstep.restoration.degrade import kernels, masks, noise
from fewstep.restoration.degrade.imresize import imresize, quantized
from fewstep.restoration.degrade.jpeg import jpeg
from fewstep.restoration.degrade.realesrgan import realesrgan
from fewstep.restoration.degrade.shakes import shakes

Recipe = Mapping[str, Any]


def _blur(
    x: Tensor,
    generator: torch.Generator,
    *,
    kind: str = "motion",
    size: int = 25,
    sigma: float | Sequence[float] = (0.5, 3.0),
    radius: float | Sequence[float] = (1.0, 6.0),
    given: Sequence[Any] | None = None,
) -> Tensor:
    if kind == "given":
        if not given:
            raise UsageError("blur of kind 'given' needs kernels: given=[[...], ...], square and of odd size")
        which = int(torch.randint(len(given), (), generator=generator))
        return kernels.blurred(x, torch.as_tensor(given[which], dtype=torch.float32))
    if kind == "shakes":
        return kernels.blurred(x, shakes()[int(torch.randint(len(shakes()), (), generator=generator))])
    if kind == "motion":
        return kernels.blurred(x, kernels.motion(generator, size=size))
    if kind == "defocus":
        return kernels.blurred(x, kernels.disk(noise.uniform(radius, generator), size=size))
    if kind == "gaussian":
        width = noise.uniform(sigma, generator)
        return kernels.blurred(x, kernels.bell(size, (width, width)))
    raise UsageError(f"blur of kind {kind!r}: expected motion, shakes, defocus, gaussian or given")


def _resize(x: Tensor, generator: torch.Generator, *, scale: float) -> Tensor:
    return imresize(x, scale)


def _quantize(x: Tensor, generator: torch.Generator) -> Tensor:
    return quantized(x)


OPS: Mapping[str, Callable[..., Tensor]] = {
    "resize": _resize,
    "quantize": _quantize,
    "gaussian": noise.gaussian,
    "poisson": noise.poisson,
    "blur": _blur,
    "jpeg": jpeg,
    "realesrgan": realesrgan,
}
"""Steps of a recipe: ``op(x, generator, **options) -> x``. ``"mask"`` is a step as well, and ``"one_of"``."""

RECIPES: Mapping[str, Recipe] = {
    **{
        f"bicubic{n}": {"task": "sr", "scale": n, "steps": [{"op": "resize", "scale": 1 / n}, {"op": "quantize"}]}
        for n in (2, 3, 4)
    },
    **{
        f"gauss{n}": {"task": "denoise", "scale": 1, "steps": [{"op": "gaussian", "sigma": float(n)}]}
        for n in (15, 25, 50)
    },
    "noise": {"task": "denoise", "scale": 1, "steps": [{"op": "gaussian", "sigma": [0.0, 55.0]}]},
    **{
        kind: {
            "task": "deblur",
            "scale": 1,
            "steps": [{"op": "blur", "kind": kind}, {"op": "gaussian", "sigma": 2.55}, {"op": "quantize"}],
        }
        for kind in ("motion", "shakes", "defocus")
    },
    "deblur": {
        "task": "deblur",
        "scale": 1,
        "steps": [
            {
                "op": "one_of",
                "shares": [3, 7],
                "steps": [{"op": "blur", "kind": "shakes"}, {"op": "blur", "kind": "motion"}],
            },
            {"op": "gaussian", "sigma": 2.55},
            {"op": "quantize"},
        ],
    },
    "inpaint": {
        "task": "inpaint",
        "scale": 1,
        "steps": [{"op": "mask", "kinds": {"strokes": 5, "pixels": 2, "lattice": 1, "lines": 1, "boxes": 1}}],
    },
    "jpeg": {"task": "jpeg", "scale": 1, "steps": [{"op": "jpeg", "quality": [10, 90]}]},
    **{f"realesrgan{n}": {"task": "sr", "scale": n, "steps": [{"op": "realesrgan", "scale": n}]} for n in (1, 2, 4)},
}


def recipe(name: str | Path | Recipe) -> Recipe:
    """A recipe by name, from a YAML file, or as it is.

    Parameters
    ----------
    name
        One of `RECIPES`, a ``.yaml`` file, or the mapping itself.

    Returns
    -------
    Mapping
        With ``task``, ``scale`` and ``steps``.

    Raises
    ------
    UsageError
        If there is no such recipe, or it names an unknown step.
    """
    found: Any = name
    if isinstance(name, str | Path):
        if str(name) in RECIPES:
            found = {"name": str(name), **RECIPES[str(name)]}
        elif Path(name).is_file():
            found = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        else:
            hint = did_you_mean(str(name), RECIPES)
            raise UsageError(f"no recipe is called {str(name)!r}{hint}: one of {', '.join(RECIPES)}, or a YAML file")
    if not isinstance(found, Mapping) or not {"task", "scale", "steps"} <= set(found):
        raise UsageError(f"{name}: a recipe is a mapping with task, scale and steps")
    for step in _flat(found["steps"]):
        if step.get("op") not in (*OPS, "mask", "one_of"):
            raise UsageError(
                f"{step.get('op')!r} is no step of a recipe: expected one of {', '.join(OPS)}, mask, one_of"
            )
    return found


def degrade(x0: Tensor, how: str | Path | Recipe, *, seed: int) -> tuple[Tensor, Tensor | None]:
    """Degrade a picture.

    Parameters
    ----------
    x0
        Float32, [3, rows, columns] in [-1, 1]; with a scale, sides are cut to its multiples.
    how
        See `recipe`.
    seed
        Of all that is drawn.

    Returns
    -------
    lq : Tensor
        [3, rows / scale, columns / scale], not clamped where noise is added last and not quantized.
    mask : Tensor or None
        1 where unknown, [1, rows, columns], if a step of the recipe makes one; `lq` is 0 there.

    Raises
    ------
    UsageError
        If the recipe is not as described, or an option of a step is wrong.
    """
    plan = recipe(how)
    scale = int(plan["scale"])
    x = x0[:, : x0.shape[1] // scale * scale, : x0.shape[2] // scale * scale]
    mask = None
    for i, step in enumerate(plan["steps"]):
        generator = rng.generator(seed, i)
        options = {key: value for key, value in step.items() if key != "op"}
        op = step["op"]
        if op == "one_of":
            shares = torch.tensor([float(s) for s in options.get("shares", [1] * len(options["steps"]))])
            chosen = options["steps"][int(torch.multinomial(shares, 1, generator=generator))]
            op, options = chosen["op"], {key: value for key, value in chosen.items() if key != "op"}
        if op == "mask":
            mask = masks.mixed(x.shape[1], x.shape[2], generator, **options)[None]
            x = x * (1 - mask)
            continue
        try:
            x = OPS[op](x, generator, **options)
        except TypeError as error:
            raise UsageError(f"step {op!r} of the recipe: {error}") from None
    return x, mask


def reach(how: str | Path | Recipe) -> int:
    """How far a degraded pixel looks, in pixels of the canvas: what a crop needs around it.

    Parameters
    ----------
    how
        See `recipe`.
    """
    sizes = {"blur": 16, "realesrgan": 32, "resize": 0, "jpeg": 0}
    total = 0
    for step in _flat(recipe(how)["steps"]):
        total = max(total, sizes.get(step["op"], 0), round(4 / step["scale"]) if step["op"] == "resize" else 0)
    return total


def _flat(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [inner for step in steps for inner in (step, *_flat(step.get("steps", ())))]

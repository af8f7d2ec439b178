"""What can be wrong with a distillation before it begins, said in one line each; and advice where memory runs out."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fewstep.core.distill.lora import Lora
from fewstep.core.distill.progressive import Progressive
from fewstep.core.distill.recipe import JudgedRecipe, Recipe
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained

_log = logging.getLogger(__name__)
_FULL = ("can't allocate memory", "out of memory", "not enough memory")


def steps(given: int | None, method: Any) -> int:
    """How many steps a student is made for.

    Raises
    ------
    UsageError
        If `given` differs from the number that the recipe trains.
    """
    own = method.steps if hasattr(method, "times") else None
    if given is not None and own is not None and given != own:
        raise UsageError(f"steps={given}, but the recipe trains {own}: leave steps out, or make them equal")
    return given if given is not None else own if own is not None else 1


def parts(
    method: Any,
    *,
    judge: nn.Module | None,
    refiner: nn.Module | None,
    adapter: Lora | None,
    guidance_scale: float,
) -> None:
    """The recipe and the nets that it needs.

    Raises
    ------
    UsageError
        If one is missing, or given and not used.
    """
    if not isinstance(method, Recipe):
        raise UsageError(f"method: expected a recipe of fewstep.core.distill, got {type(method).__name__}")
    name, refines = type(method).__name__, bool(getattr(method, "refines", False))
    if isinstance(method, JudgedRecipe) != (judge is not None):
        need = "needs a discriminator" if judge is None else "has no use for a discriminator"
        raise UsageError(f"{name} {need}: judge={type(judge).__name__}")
    if refines != (refiner is not None):
        need = "trains a refiner" if refines else "has no use for a refiner"
        raise UsageError(f"{name} {need}: refiner={type(refiner).__name__}")
    told = getattr(method, "told", None)
    if adapter is not None and (told is not None or refines):
        raise UsageError(f"{name} trains more than the student's own layers: it does not go with `adapter`")
    weights = getattr(told, "guidance", None)
    if guidance_scale != 1 and weights is not None:
        raise UsageError(f"the student learns guidance weights {weights}: leave guidance_scale at 1")
    if guidance_scale != 1 and name in _FROM_DATA:
        raise UsageError(
            f"{name} learns from data and asks no teacher: for guidance_scale={guidance_scale} give it the guided "
            "teacher's samples as data (fewstep.core.lit.pairs.PairData with guidance_scale)"
        )


_FROM_DATA = (
    "Adversarial",
    "ConsistencyTraining",
    "MomentMatching",
    "Unrolled",
    "Reflow",
    "PairDistillation",
    "Ends",
    "HighFrequency",
)


def halving(teacher: Pretrained, method: Any) -> None:
    """Progressive distillation halves: its teacher, if it has a number of steps of its own, has twice as many.

    Raises
    ------
    UsageError
        If it has not.
    """
    if isinstance(method, Progressive) and "distilled" in teacher.config and teacher.steps != 2 * method.steps:
        if teacher.steps % 2:
            hint = f"{teacher.steps} is odd and cannot be halved: start again from a teacher of an even number"
        else:
            hint = f"set method.steps={teacher.steps // 2}"
        raise UsageError(
            f"progressive distillation halves: a student of {method.steps} steps needs a teacher of "
            f"{2 * method.steps}, this one was made for {teacher.steps}; {hint}"
        )


def same_kind(student: Pretrained, teacher: Pretrained) -> Pretrained:
    """The student, if it and the teacher are read alike.

    Raises
    ------
    UsageError
        If the path, the parameterisation, or what they are told differs.
    """
    pairs = {
        "path": (student.path.key, teacher.path.key),
        "parameterisation": (student.parameterization, teacher.parameterization),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise UsageError(
                f"student and teacher differ in their {what}: {ours} against {theirs}; start from the teacher (leave "
                "`student` out) or from another student of it"
            )
    return student


def plain(*models: Pretrained) -> None:
    """Neither is told more than its time, nor refined.

    Raises
    ------
    UsageError
        If one is.
    """
    for model in models:
        if model.told is not None or "full" in model.config:
            raise UsageError(
                f"a student of {model.config.get('distilled')} is told more than its time, or refined: it cannot be "
                "distilled again; take its teacher"
            )
        if model.config.get("averaged") is False:
            _log.warning("the teacher was exported without averaged weights: train it with callbacks.ema for better")


def shapes(teacher: Pretrained, batch: Mapping[str, Any]) -> None:
    """The teacher answers items of the data's shape with answers of that shape.

    Raises
    ------
    UsageError
        If it cannot be asked, or answers otherwise.
    """
    one = {key: None if (value := batch.get(key)) is None else _first(value) for key in ("x0", "y", "cond")}
    x0 = one["x0"]
    hint = "give the data that the teacher was trained on, and the parts (y, cond) that it is told"
    if batch.get("eps") is not None and batch["eps"].shape != batch["x0"].shape:
        raise UsageError(f"a pair is of one shape, got {list(batch['eps'].shape)} and {list(batch['x0'].shape)}")
    try:
        with torch.no_grad():
            answer = teacher.denoise(y=one["y"], cond=one["cond"])(
                x0, torch.full((1,), teacher.path.t_max / 2).to(x0.device)
            )
    except (RuntimeError, TypeError, AttributeError) as error:
        said = str(error).splitlines()[0]
        raise UsageError(
            f"the teacher cannot be asked about items of shape {list(x0.shape[1:])} ({said}): {hint}"
        ) from None
    if answer.shape != x0.shape:
        raise UsageError(
            f"the teacher answers items of shape {list(x0.shape[1:])} with {list(answer.shape[1:])}: {hint}"
        )


def _first(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value[:1]
    if isinstance(value, Mapping):
        return {key: _first(item) for key, item in value.items()}
    return value


@contextmanager
def memory_advice() -> Iterator[None]:
    """Turn running out of memory into advice.

    Raises
    ------
    UsageError
        If it happens inside the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(text in str(error).lower() for text in _FULL):
            raise
        raise UsageError(
            "memory ran out: halve data.batch_size (and set trainer.accumulate_grad_batches=2 where the recipe has "
            "one optimiser), use trainer.precision=bf16-mixed, low-rank adapters (module.adapter), or fewer steps"
        ) from error

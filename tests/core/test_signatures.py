# ruff: noqa: UP045 - old spellings of an optional are meant to be understood too
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Protocol

import pytest
import torch
from torch import nn

from fewstep.core.signatures import fits, hints, shown

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}
PARTIAL = {"_target_": "torch.optim.AdamW", "_partial_": True}


class Speaks(Protocol):
    def speak(self) -> str: ...


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (3, int),
        (3, float),
        (3.5, float),
        (True, bool),
        ("a", str),
        ("a/b", pathlib.Path),
        (None, None),
        (None, Optional[int]),
        (2, int | None),
        ("eps", Literal["eps", "x0"]),
        ([1, 2], list[int]),
        ([1, 2.5], Sequence[float]),
        ([1, 2], tuple[int, int]),
        ([1, 2, 3], tuple[int, ...]),
        ({"a": 1}, Mapping[str, int]),
        (4, Annotated[int, "of layers"]),
        ("anything", Any),
        (LINEAR, nn.Module),
        (LINEAR, nn.Linear),
        (LINEAR, Callable[[torch.Tensor], torch.Tensor]),
        (LINEAR, Speaks),
        (PARTIAL, Callable[..., Any]),
        ({"_target_": "nowhere.X"}, nn.Module),
        ({"_target_": "torch.optim.lr_scheduler.ConstantLR"}, object),
        (LINEAR, Optional[nn.Module]),
    ],
)
def test_what_fits(value, annotation):
    assert fits(value, annotation)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ("3", int),
        (True, int),
        (True, float),
        (3.5, int),
        (1, bool),
        (3, str),
        (3, pathlib.Path),
        (3, None),
        ("a", Optional[int]),
        ("epz", Literal["eps", "x0"]),
        (3, list[int]),
        (["a"], list[int]),
        ([1, 2, 3], tuple[int, int]),
        ([1], Mapping[str, int]),
        ("relu", Callable[..., Any]),
        (4, Annotated[str, "a name"]),
        ("linear", nn.Module),
        (LINEAR, nn.Conv1d),
        (LINEAR, int),
        (LINEAR, list[int]),
        (PARTIAL, torch.optim.Optimizer),
    ],
)
def test_what_does_not_fit(value, annotation):
    assert not fits(value, annotation)


def test_hints_that_cannot_be_resolved_are_left_out():
    def function(a: "NotImported", b: int):  # noqa: F821
        return a, b

    assert hints(function) == {}
    assert hints(nn.Linear)["in_features"] is int


def test_shown_in_few_words():
    assert shown("3") == "'3' (str)"
    assert shown(None) == "None"
    assert shown(LINEAR) == "torch.nn.Linear"
    assert shown({"b": 1, "a": 2}) == "a mapping of ['a', 'b']"
    assert shown(nn.Module) == "Module"
    assert shown(Optional[int]) in ("Optional[int]", "int | None")

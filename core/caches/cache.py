"""A cache as data: scope × policy × predictor × correction. `fewstep.core.caches.attach` runs it."""

from dataclasses import dataclass, field
from typing import Any

from fewstep.core.caches.correction import AsPredicted, Correction
from fewstep.core.caches.gate import Gate
from fewstep.core.caches.policy import Policy
from fewstep.core.caches.predictor import Predictor, Reuse
from fewstep.core.caches.scope import Scope, span
from fewstep.core.errors import UsageError


@dataclass(frozen=True)
class Cache:
    """What is left out, when, what stands in for it and how that is corrected.

    Parameters
    ----------
    scope
        A scope; a text is a `span` over what it names.
    policy
        When to compute.
    predictor, correction
        From stored features to the one that is used.
    stages
        Evaluations per step that keep features of their own (2 for Heun), told apart by row modulo `stages`.
    max_bytes
        Most that one run may keep; None: any amount.

    Raises
    ------
    UsageError
        If per-item decisions are asked for with anything but reuse of one feature.
    """

    scope: Any
    policy: Policy
    predictor: Predictor = field(default_factory=Reuse)
    correction: Correction = field(default_factory=AsPredicted)
    stages: int = 1
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.scope, str):
            object.__setattr__(self, "scope", span(self.scope))
        if self.stages < 1:
            raise UsageError(f"expected stages >= 1, got {self.stages}")
        if isinstance(self.policy, Gate) and self.policy.reduce == "sample" and not isinstance(self.predictor, Reuse):
            raise UsageError('reduce="sample" keeps items of different rows together: it needs the predictor Reuse()')
        if getattr(self.policy, "reduce", None) == "sample" and not isinstance(self.correction, AsPredicted):
            raise UsageError('reduce="sample" keeps items of different rows together: it takes no correction')

    @property
    def depth(self) -> int:
        """Features that are kept per site."""
        return max(self.predictor.depth, getattr(self.policy, "depth", 1))

    @property
    def places(self) -> Scope:
        """The scope."""
        scope: Scope = self.scope
        return scope

"""A tableau run out of place by a walk that changes what is asked, or what is made of the answer."""

from collections.abc import Callable, Sequence

from torch import Tensor

from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.walk.ground import Ground, Steps
from fewstep.core.types import StepInfo

Ask = Callable[[Tensor, int], Tensor]
"""``ask(x, i) -> D`` for row i."""


def follow(ground: Ground, table: Tableau, ask: Ask, x: Tensor | None = None) -> Steps:
    """Run `table` from `x`, by default the ground's first state, with the answers of `ask`."""
    u = _shifted(ground.x if x is None else x, ground.y, -table.b[0])
    past: list[Tensor] = []
    for i in range(table.rows):
        x = _shifted(u, ground.y, table.b[i])
        denoised = ask(x, i)
        past = [_element(u, denoised.to(u.dtype), past, table.mix[i].tolist()), *past][: max(2, table.history.shape[1])]
        u = u * float(table.state[i])
        for weight, element in zip(table.history[i].tolist(), past, strict=False):
            u = u + weight * element if weight else u
        if table.noise[i]:
            u = u + float(table.noise[i]) * ground.normal()
        new = _shifted(u, ground.y, table.b[i + 1])
        step, t_eval, t = int(table.step[i]), float(table.times[i]), float(table.times[i + 1])
        replacement = yield StepInfo(i, step, t_eval, t, new, denoised)
        u = u if replacement is None else _shifted(replacement, ground.y, -table.b[i + 1])


def _shifted(x: Tensor, y: Tensor | None, b: float) -> Tensor:
    return x if y is None or b == 0 else x + float(b) * y


def _element(u: Tensor, denoised: Tensor, past: Sequence[Tensor], mix: Sequence[float]) -> Tensor:
    of_u, of_denoised, of_last = mix
    new = denoised.clone() if of_denoised == 1 else of_denoised * denoised
    new = new + of_u * u if of_u else new
    return new + of_last * past[0] if of_last and past else new

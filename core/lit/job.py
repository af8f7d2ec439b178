"""The plain job that a module was built by, for its export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fewstep.core.errors import UsageError


def job_of(module: Any, recipe: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The job given, else the one that `fewstep fit` ran.

    Parameters
    ----------
    module
        With an attribute ``recipe``, a plain job or None.
    recipe
        A plain job, or None.

    Returns
    -------
    Mapping
        The job, with ``module.net``.

    Raises
    ------
    UsageError
        If there is none.
    """
    job = recipe or module.recipe
    if job is None:
        raise UsageError("nothing says how to rebuild this net: pass recipe=, the plain job with module.net and data")
    return job

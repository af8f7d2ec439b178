"""Files written under a temporary name and then renamed, so that none is ever half there; names that are safe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fewstep.core.files import replacing


def write_json(file: Path, content: Any) -> None:
    """JSON with sorted keys; numbers that are not finite become null.

    Parameters
    ----------
    file
        Where.
    content
        Plain values; tuples become lists.
    """
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(_finite(content), indent=1, sort_keys=True, default=str) + "\n")


def safe_name(text: str, *, longest: int = 60) -> str:
    """A file name of letters, digits, dots and dashes, made of any text; never a hidden one or a path."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
    words = re.sub(r"\.{2,}", ".", words)
    return words[:longest].strip("-.") or "scan"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value

"""Files written under a temporary name and then renamed, so that none is ever half there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary name beside `file`, which takes its place if nothing was raised.

    Parameters
    ----------
    file
        Where it shall be; its folder is made.

    Yields
    ------
    pathlib.Path
        With the same suffix.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)

"""Several workers on one folder: a claim is a file that only one of them can make; a dead worker's is taken over."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE = 120.0
"""Seconds without a sign of life after which a worker of another machine counts as dead."""


@contextmanager
def claim(file: Path) -> Iterator[bool]:
    """Try to make `file`, keep it fresh inside, and remove it after.

    Parameters
    ----------
    file
        Of the work to be claimed; its folder is made.

    Yields
    ------
    bool
        False if another worker has it and lives.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if not _made(file) and not (_dead(file) and _taken_over(file)):
        yield False
        return
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(file, done), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        done.set()
        beat.join()
        file.unlink(missing_ok=True)


def _made(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as stream:
        json.dump({"host": socket.gethostname(), "process": os.getpid()}, stream)
    return True


def _dead(file: Path) -> bool:
    try:
        silent = time.time() - file.stat().st_mtime
        owner = json.loads(file.read_text() or "{}")
    except FileNotFoundError:
        return True
    except ValueError:
        owner = {}
    if silent > STALE:
        return True
    if owner.get("host") != socket.gethostname() or "process" not in owner:
        return False
    try:
        os.kill(int(owner["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _taken_over(file: Path) -> bool:
    """Move the old claim away, which only one worker succeeds in, and make a new one."""
    old = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.old")
    try:
        os.rename(file, old)
    except FileNotFoundError:
        return _made(file)
    old.unlink(missing_ok=True)
    return _made(file)


def _beat(file: Path, done: threading.Event) -> None:
    while not done.wait(STALE / 8):
        try:
            os.utime(file)
        except FileNotFoundError:
            return

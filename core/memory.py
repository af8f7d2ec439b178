"""What the C library does with freed memory: glibc hands large blocks back at once, and each new one is paid for again,
page by page; a centred FFT of 8 x 256 x 256 took up to 2.7 times as long."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_* of malloc.h
_LARGEST = 32 << 20  # that glibc takes for the second


def keep_freed(kept: int = 256 << 20) -> bool:
    """Let this process keep what it frees and take it again, up to some bytes; `fewstep` commands do.

    Parameters
    ----------
    kept
        Bytes at the end of the heap that are not handed back.

    Returns
    -------
    bool
        Whether the C library took it: glibc does, others (musl, Windows, macOS) are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, kept)) and bool(mallopt(_MMAP_THRESHOLD, min(kept, _LARGEST)))


__all__ = ["keep_freed"]

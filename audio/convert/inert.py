"""Reads the tensors of a torch checkpoint that also holds pickled classes, without running anything that it contains.

A checkpoint (torch >= 1.6) is a zip of a pickle program and of raw storages. The program is stepped through here by an
interpreter that knows the opcodes of plain data: it imports nothing and calls nothing. Tensors, ordered dicts and plain
values become what they are; every other object becomes an `Inert` of its name and arguments.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING", "INT", "LONG", "FLOAT", "UNICODE", "STRING",
}  # fmt: skip
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME", "STOP"}


@dataclass(eq=False)
class Inert:
    """An object that was not made: the name of its class or function, its arguments and its state."""

    name: str
    arguments: Any = None
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype


def read_checkpoint(file: str | Path) -> dict[Any, Any]:
    """The mapping that a checkpoint holds.

    Parameters
    ----------
    file
        What `torch.save` or a Lightning trainer wrote (.ckpt, .pt, .pth).

    Returns
    -------
    dict
        With tensors on the CPU and `Inert` objects in the place of pickled ones.

    Raises
    ------
    UsageError
        If the file is missing, is no zip of this form, uses an opcode beyond plain data, or is no mapping.
    """
    file = Path(file)
    if not file.is_file():
        raise UsageError(f"{file} does not exist")
    try:
        with zipfile.ZipFile(file) as archive:
            programs = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if len(programs) != 1:
                raise UsageError(f"{file} is no checkpoint of torch 1.6 or later: it holds no data.pkl")
            content = _Reader(archive, programs[0].removesuffix("data.pkl")).run(archive.read(programs[0]))
    except zipfile.BadZipFile:
        raise UsageError(f"{file} is no checkpoint of torch 1.6 or later (no zip archive)") from None
    except (IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{file} is damaged or no checkpoint: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{file} holds a {type(content).__name__}, expected a mapping")
    return content


class _Reader:
    """A stack, a memo, and one method per kind of opcode."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str):
        self.archive, self.prefix = archive, prefix
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Tensor] = {}

    def run(self, program: bytes) -> Any:
        for code, argument, _ in pickletools.genops(program):
            name = code.name
            if name in _VALUES:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                self.stack.append(tuple(self._taken(_TUPLES[name])))
            elif name not in _IGNORED:
                method = getattr(self, f"_{name.lower()}", None)
                if method is None:
                    raise UsageError(f"the checkpoint uses the opcode {name}, which is not plain data")
                method(argument)
        return self.stack.pop()

    def _taken(self, n: int) -> list[Any]:
        taken = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return taken

    def _above_mark(self) -> list[Any]:
        place = max(i for i, value in enumerate(self.stack) if value is _MARK)
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._above_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._above_mark())

    def _dict(self, _: Any) -> None:
        values = self._above_mark()
        self.stack.append(dict(zip(values[::2], values[1::2], strict=True)))

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _binput(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    _long_binput = _put = _binput

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _binget(self, place: int) -> None:
        self.stack.append(self.memo[place])

    _long_binget = _get = _binget

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._above_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, Inert) else target).extend(values)

    def _additems(self, _: Any) -> None:
        values = self._above_mark()
        self.stack[-1].update(value for value in values if isinstance(value, str | int | float | tuple))

    def _setitem(self, _: Any) -> None:
        self._fill(self._taken(2))

    def _setitems(self, _: Any) -> None:
        self._fill(self._above_mark())

    def _fill(self, values: list[Any]) -> None:
        pairs = list(zip(values[::2], values[1::2], strict=True))
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.items.extend(pairs)
        else:
            target.update(pairs)

    def _global(self, argument: str) -> None:
        self.stack.append(Inert(argument.replace(" ", ".")))

    def _stack_global(self, _: Any) -> None:
        self.stack.append(Inert(".".join(self._taken(2))))

    def _reduce(self, _: Any) -> None:
        function, arguments = self._taken(2)
        name = function.name if isinstance(function, Inert) else "?"
        if name == "collections.OrderedDict":
            self.stack.append(dict(*arguments))
        elif name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            self.stack.append(self._tensor(*arguments[:4]))
        elif name in ("__builtin__.set", "builtins.set"):
            self.stack.append(set(*arguments))
        elif name == "torch._utils._rebuild_parameter":
            self.stack.append(arguments[0])
        else:
            self.stack.append(Inert(name, arguments))

    def _newobj(self, _: Any) -> None:
        of, arguments = self._taken(2)
        self.stack.append(Inert(of.name if isinstance(of, Inert) else "?", arguments))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def _binpersid(self, _: Any) -> None:
        kind, of, key, *_ = self.stack.pop()
        dtype = _DTYPES.get(of.name.rpartition(".")[2]) if isinstance(of, Inert) else None
        if kind != "storage" or dtype is None:
            raise UsageError(f"the checkpoint holds a storage of an unknown kind ({kind!r}, {of})")
        self.stack.append(_Storage(str(key), dtype))

    def _tensor(self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        if storage.key not in self.storages:
            raw = bytearray(self.archive.read(f"{self.prefix}data/{storage.key}"))
            flat = torch.frombuffer(raw, dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)
            self.storages[storage.key] = flat
        flat = self.storages[storage.key]
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if math.prod(size) and (min(offset, *size, *stride, 0) < 0 or last >= len(flat)):
            raise UsageError(f"a tensor of size {list(size)} does not fit its storage of {len(flat)} numbers")
        return flat.as_strided(size, stride, offset)

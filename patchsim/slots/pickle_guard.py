"""The pickle in a .pt file, read without Python's or torch's unpickler, so that nothing can run.

`torch.save` writes about thirty instructions. `read` obeys these alone, and its only effects are
lists of what the pickle names: no object is made by its name, no key is hashed, nothing is
compared or printed. Torch's own reader is not used, because ``weights_only=True`` has had holes:
CVE-2025-32434 (before 2.6, in the formats before zip) and CVE-2026-24747 (before 2.10, by SETITEM
on tensors and storages smaller than they say).

The instructions are documented in Python's `pickletools`, their use in `torch.serialization`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from patchsim.errors import DamageError

# Bytes. A structure of tensors is far smaller; to read it takes a hundred times its size at most.
LARGEST = 1_000_000

_MAKERS = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",  # of types that have no storage of their own
}
_TYPE = re.compile(r"torch (bool|(?:bfloat|u?int|float|complex)\d+\w*)")
_STORAGES = {
    "torch DoubleStorage": "float64",
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
    "torch ComplexFloatStorage": "complex64",
    "torch ComplexDoubleStorage": "complex128",
    "torch.storage UntypedStorage": "bytes",
}


class RefusedError(ValueError):
    """Why a pickle is not read, as the end of a message about the file."""


class Pairs(list[Any]):
    """A dict in a pickle: its keys and values in turn, neither hashed nor compared."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Named:
    """An object that a pickle names, such as ``torch float32``; or an instance of that class."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The values of tensors: their type, the name of their member in the file, their number."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor in a pickle, with numbers as the file gives them: they may not fit its storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    is_flagged: bool  # values to be conjugated or negated


def read(data: bytes) -> Any:
    """Return what a pickle holds, with `Pairs`, `Named` and `TensorRecord` in place of objects.

    Raises
    ------
    RefusedError
        If it holds anything else or is too large.
    DamageError
        If it is no pickle, or cut short.
    """
    if len(data) > LARGEST:
        raise RefusedError(f"has a pickle of more than {LARGEST:,} bytes; save a dict of tensors")
    try:
        return _Machine(data).run()
    except (IndexError, KeyError, struct.error) as error:
        raise DamageError("its pickle asks for what is not there") from error


def _refused() -> RefusedError:
    return RefusedError(
        "is refused: it holds more than plain tensors and could run code;"
        " save a dict of tensors, best as .safetensors"
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


class _Machine:
    """The stack, the marks and the memo of a pickle that is read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        self._push = self._stack.append
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, codes = self._data, self._CODES
        while True:
            code = data[self._at]
            self._at += 1
            if code == ord("."):
                return self._stack.pop()
            act = codes.get(code)
            if act is None:
                raise _refused()
            act(self)

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise DamageError("its pickle is cut short")
        self._at += count
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise DamageError("its pickle is cut short")
        line = self._data[self._at : end]
        self._at = end + 1
        return line.decode("utf-8", "replace")

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) < count:
            raise DamageError("its pickle asks for what is not there")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        return items

    def _integer(self) -> None:
        self._push(int.from_bytes(self._take(self._number("<B")), "little", signed=True))

    def _text(self) -> None:
        self._push(self._take(self._number("<I")).decode("utf-8", "surrogatepass"))

    def _named(self) -> None:
        name = f"{self._line()} {self._line()}"
        if name not in _MAKERS and name not in _STORAGES and _TYPE.fullmatch(name) is None:
            raise _refused()
        self._push(Named(name))

    def _storage(self) -> None:
        match self._stack.pop():
            case ("storage", Named(name), str(key), str(), count) if (
                name in _STORAGES and _is_count(count)
            ):
                self._push(Storage(_STORAGES[name], key, count))
            case _:
                raise _refused()

    def _make(self) -> None:
        maker, given = self._last(2)
        match maker, given:
            case Named("collections OrderedDict"), ():
                self._push(Pairs())
            case Named("torch Size" | "torch device"), tuple():
                self._push(maker)
            case Named("torch._utils _rebuild_parameter"), (TensorRecord() as tensor, _, _):
                self._push(tensor)
            case (
                Named("torch._utils _rebuild_tensor_v2"),
                (Storage() as storage, offset, tuple(shape), tuple(strides), bool(), _, *flags),
            ) if len(flags) < 2:
                self._push(_tensor(storage, storage.dtype, offset, shape, strides, flags))
            case (
                Named("torch._utils _rebuild_tensor_v3"),
                (
                    Storage() as storage,
                    offset,
                    tuple(shape),
                    tuple(strides),
                    bool(),
                    _,
                    Named(kind),
                    *flags,
                ),
            ) if len(flags) < 2 and _TYPE.fullmatch(kind):
                dtype = kind.removeprefix("torch ")
                self._push(_tensor(storage, dtype, offset, shape, strides, flags))
            case _:
                raise _refused()

    def _add(self, items: list[Any], target: type[list[Any]]) -> None:
        # The exact type: a list is no dict, and nothing else takes items at all.
        if type(self._stack[-1]) is not target:
            raise _refused()
        self._stack[-1] += items

    def _add_pairs(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise DamageError("its pickle has a key without a value")
        self._add(items, Pairs)

    def _set_state(self) -> None:
        # The attributes of an OrderedDict, such as the versions of a module's parameters.
        state = self._stack.pop()
        if type(state) is not Pairs or type(self._stack[-1]) is not Pairs:
            raise _refused()

    def _remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _CODES: ClassVar[dict[int, Callable[[_Machine], None]]] = {
        ord(code): act
        for code, act in {
            "\x80": lambda m: m._number("<B") and None,  # the protocol
            "(": lambda m: m._marks.append(len(m._stack)),
            "N": lambda m: m._push(None),
            "\x88": lambda m: m._push(True),
            "\x89": lambda m: m._push(False),
            "K": lambda m: m._push(m._number("<B")),
            "M": lambda m: m._push(m._number("<H")),
            "J": lambda m: m._push(m._number("<i")),
            "\x8a": _integer,
            "G": lambda m: m._push(m._number(">d")),
            "X": _text,
            "}": lambda m: m._push(Pairs()),
            "]": lambda m: m._push([]),
            ")": lambda m: m._push(()),
            "t": lambda m: m._push(tuple(m._since_mark())),
            "\x85": lambda m: m._push((m._stack.pop(),)),
            "\x86": lambda m: m._push(m._last(2)),
            "\x87": lambda m: m._push(m._last(3)),
            "s": lambda m: m._add_pairs(list(m._last(2))),
            "u": lambda m: m._add_pairs(m._since_mark()),
            "a": lambda m: m._add(list(m._last(1)), list),
            "e": lambda m: m._add(m._since_mark(), list),
            "q": lambda m: m._remember(m._number("<B")),
            "r": lambda m: m._remember(m._number("<I")),
            "h": lambda m: m._push(m._memo[m._number("<B")]),
            "j": lambda m: m._push(m._memo[m._number("<I")]),
            "c": _named,
            "Q": _storage,
            "R": _make,
            "b": _set_state,
        }.items()
    }


def _tensor(
    storage: Storage,
    dtype: str,
    offset: Any,
    shape: tuple[Any, ...],
    strides: tuple[Any, ...],
    flags: list[Any],
) -> TensorRecord:
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(map(_is_count, numbers)):
        raise DamageError("a tensor in it has no possible shape")
    return TensorRecord(storage, dtype, offset, shape, strides, any(flags))

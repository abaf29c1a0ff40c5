"""Dataclasses that are made in a fifth of the time.

The decorator of the standard library compiles up to seven functions for each class, half a
millisecond for a frozen one, and a search makes a hundred classes before it begins. Here `__init__`
alone is compiled; all classes share the other methods.
"""

from __future__ import annotations

import dataclasses
import operator
import sys

TYPE_CHECKING = False  # loading `typing` takes longer than to make a class
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
    from typing import Any
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, kw_only=False, slots=False):
        """Make a dataclass, as the function of the standard library with this name does."""
        settings = {"frozen": frozen, "eq": eq, "kw_only": kw_only, "slots": slots}
        return (lambda cls: _made(cls, **settings)) if cls is None else _made(cls, **settings)


__all__ = ["dataclass"]


def _made(cls: Any, *, frozen: bool, eq: bool, kw_only: bool, slots: bool) -> Any:
    """Add the methods that the class has not written itself."""
    written = {name for name, value in vars(cls).items() if value is not None}
    # A written __eq__ sets __hash__ to None, which counts as not written.
    begin = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only, slots=slots)
    made = begin(cls)
    methods: dict[str, Any] = {"__init__": _initializer(made, frozen=frozen), "__repr__": _repr}
    if frozen:
        methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    if frozen and slots:  # what is copied or unpickled sets its slots
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    if eq:
        methods["__eq__"], by_values = _comparisons(made)
        methods["__hash__"] = by_values if frozen else None
    for name, method in methods.items():
        if name not in written:
            setattr(made, name, method)
    return made


def _initializer(cls: Any, *, frozen: bool) -> Any:
    """Compile `__init__`, which sets the fields and calls `__post_init__`."""
    fields = dataclasses.fields(cls)
    values: dict[str, Any] = {"_set": object.__setattr__}  # what the code names
    parameters, lines = [], []
    for field in sorted(fields, key=lambda field: bool(field.kw_only)):
        name, default, value = field.name, "", field.name
        if field.default is not dataclasses.MISSING:
            values[f"_of_{name}"], default = field.default, f"=_of_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            values |= {f"_of_{name}": field.default_factory, "_made": _MADE}
            default, value = "=_made", f"_of_{name}() if {name} is _made else {name}"
        if not field.init:
            if not default:
                continue  # the class sets it itself
            value = f"_of_{name}()" if default == "=_made" else f"_of_{name}"
        else:
            if field.kw_only and "*" not in parameters:
                parameters.append("*")
            parameters.append(name + default)
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    code = (
        f"def make({', '.join(values)}):\n def __init__({', '.join(['self', *parameters])}):\n  "
        + "\n  ".join(lines or ["pass"])
        + "\n return __init__"
    )
    made: dict[str, Any] = {}
    exec(code, vars(sys.modules[cls.__module__]), made)
    initializer = made["make"](**values)
    initializer.__qualname__ = f"{cls.__qualname__}.__init__"
    initializer.__annotations__ = {field.name: field.type for field in fields if field.init}
    initializer.__annotations__["return"] = None
    return initializer


class _Made:
    def __repr__(self) -> str:
        return "<factory>"


_MADE = _Made()  # stands for a default that is made anew, in a signature, too


def _comparisons(cls: Any) -> tuple[Callable[[Any, object], Any], Callable[[Any], int]]:
    """Return `__eq__` and `__hash__` of the fields that are compared."""
    names = [field.name for field in dataclasses.fields(cls) if field.compare]
    values = operator.attrgetter(*names, "__class__")  # with the class the values are a tuple

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def by_values(self: Any) -> int:
        return hash(values(self))

    return equal, by_values


def _repr(self: Any) -> str:
    values = ", ".join(
        f"{field.name}={getattr(self, field.name)!r}"
        for field in dataclasses.fields(self)
        if field.repr
    )
    return f"{type(self).__qualname__}({values})"


def _refuse_to_set(self: Any, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot set {name!r} of a {type(self).__name__}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete {name!r} of a {type(self).__name__}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)

"""The dataclasses of `patchsim.records` behave like those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from patchsim import records

PACKAGE = Path(records.__file__).parent
SETTINGS: list[dict[str, bool]] = [
    {},
    {"frozen": True},
    {"frozen": True, "eq": False},
    {"frozen": True, "kw_only": True},
    {"slots": True},
    {"frozen": True, "slots": True},
]


def make(decorator: Callable[..., Any], settings: dict[str, bool]) -> Any:
    @decorator(**settings)
    class Point:
        """A point."""

        x: int
        y: float = 2.5
        names: list[str] = dataclasses.field(default_factory=list, repr=False, compare=False)
        made: list[str] = dataclasses.field(default_factory=list, init=False, compare=False)
        count: int = dataclasses.field(default=4, init=False)
        later: int = dataclasses.field(init=False, repr=False, compare=False)
        origin: ClassVar[int] = 7

    return Point


def pair(settings: dict[str, bool]) -> list[Any]:
    return [make(decorator, settings) for decorator in (records.dataclass, dataclasses.dataclass)]


def outcome(action: Callable[[], Any]) -> Any:
    """Return the result, or the kind of the error."""
    try:
        return action()
    except (TypeError, AttributeError) as error:
        return type(error)


@records.dataclass(frozen=True, slots=True)
class Slotted:
    x: int
    y: tuple[int, ...] = ()


@records.dataclass(frozen=True)
class Child(Slotted):
    z: int = 3

    def __post_init__(self) -> None:
        if self.z < 0:
            raise ValueError("z")

    def __repr__(self) -> str:
        return "child"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(
    "action",
    [
        lambda point: repr(point(x=1)),
        lambda point: point(x=1) == point(x=1),
        lambda point: point(x=1) == point(x=2),
        lambda point: point(x=1, names=["a"]) == point(x=1, names=["b"]),
        lambda point: point(x=1) == 1,
        lambda point: len({point(x=1), point(x=1)}),
        lambda point: point(1, 3).y,
        lambda point: point(y=1),
        lambda point: point(x=1, z=1),
        lambda point: setattr(point(x=1), "x", 2),
        lambda point: delattr(point(x=1), "x"),
        lambda point: dataclasses.replace(point(x=1), y=3).y,
        lambda point: (point(x=1).made, point(x=1).count, point(x=1).made is point(x=1).made),
        lambda point: hasattr(point(x=1), "later"),
        lambda point: point(x=1).names is point(x=1).names,
        lambda point: copy.copy(point(x=1, y=4)).y,
        lambda point: [field.name for field in dataclasses.fields(point)],
        lambda point: str(inspect.signature(point)),
        lambda point: point.__match_args__,
        lambda point: hasattr(point(x=1), "__dict__"),
    ],
)
def test_records_do_what_dataclasses_do(
    settings: dict[str, bool], action: Callable[[Any], Any]
) -> None:
    made, standard = pair(settings)
    assert outcome(lambda: action(made)) == outcome(lambda: action(standard))


def test_slots_are_copied_and_pickled_though_they_are_frozen() -> None:
    record = Slotted(1, (2, 3))
    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record


def test_a_record_inherits_fields_checks_itself_and_keeps_its_own_methods() -> None:
    assert (Child(1).x, Child(1).z, repr(Child(1))) == (1, 3, "child")
    with pytest.raises(ValueError, match="z"):
        Child(1, z=-1)


def test_a_frozen_record_takes_no_further_attribute() -> None:
    for record in (Slotted(1), Child(1)):
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot set 'other'"):
            record.other = 2  # type: ignore[attr-defined]


def test_all_classes_are_made_with_the_quick_decorator() -> None:
    slow = re.compile(r"^from dataclasses import .*\bdataclass\b|@dataclasses\.d", re.MULTILINE)
    assert [path for path in PACKAGE.rglob("*.py") if slow.search(path.read_text("utf-8"))] == []

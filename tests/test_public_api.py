"""The names that others use do not change unseen: `public_api.txt` lists them.

`python tests/test_public_api.py` writes the list anew. A line that changes there needs one in the
changelog.
"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import patchsim

LIST = Path(__file__).with_name("public_api.txt")
MODULES = (
    "patchsim", "patchsim.compat.mtm", "patchsim.compat.opencv", "patchsim.compat.pyscreeze",
    "patchsim.compat.skimage",
)  # fmt: skip


def described(module: ModuleType) -> Iterator[str]:
    for name in sorted(getattr(module, "__all__", vars(module))):
        thing = getattr(module, name)
        is_own = hasattr(module, "__all__") or getattr(thing, "__module__", None) == module.__name__
        if not name.startswith("_") and (is_own or name.isupper()):
            yield from lines(f"{module.__name__}.{name}", thing)


def lines(path: str, thing: object) -> Iterator[str]:
    if inspect.isclass(thing):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        yield f"{path} class({bases})"
        fields = set(inspect.get_annotations(thing))
        for name in sorted(fields | set(vars(thing))):
            member = inspect.getattr_static(thing, name, None)
            if name == "__init__" or not name.startswith("_"):
                yield from lines(f"{path}.{name}", member)
    elif inspect.isfunction(thing):
        yield f"{path}({', '.join(arguments(thing))})"
    else:
        yield path


def arguments(function) -> Iterator[str]:
    """Yield names and kinds, and whether there is a default."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    only = False
    for one in inspect.signature(function).parameters.values():
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not only:
            only = True
            yield "*"
        yield stars.get(one.kind, "") + one.name + ("=" if one.default is not one.empty else "")


def listed() -> str:
    modules = (importlib.import_module(name) for name in MODULES)
    return "".join(f"{line}\n" for module in modules for line in described(module))


def test_completion_of_the_package_has_each_public_name_once():
    code = "import patchsim; patchsim.match; print(*dir(patchsim))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert len(names) == len(set(names))
    assert set(patchsim.__all__) <= set(names)
    assert not {"TYPE_CHECKING", "annotations"} & set(names)


def test_public_names_are_those_of_the_list():
    assert listed() == LIST.read_text(encoding="utf-8")


if __name__ == "__main__":
    LIST.write_text(listed(), encoding="utf-8")

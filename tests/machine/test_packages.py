"""Packages that are missing or broken are named, from the shell and from Python."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ENVIRONMENT, said

import patchsim
from patchsim.machine import packages

# The interpreter imports it before the command: it puts a module of this file's text in the place
# of another.
IN_PLACE = """
import importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            return importlib.util.spec_from_file_location(name, {file!r})
sys.meta_path.insert(0, Finder)
"""
LIBRARY = 'raise OSError("libx.so.1: cannot open shared object file")'
NOT_THERE = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')"
BROKEN = [
    # What is broken, its text, the words of the command, the package that is named, the reason.
    ("numpy", NOT_THERE, "match a.png a.png", "numpy", "No module named 'numpy'"),
    ("numpy", "", "match a.png a.png", "numpy", "No module named 'numpy.typing'"),
    ("typer", NOT_THERE, "--version", "typer", "No module named 'typer'"),
    ("shellingham", LIBRARY, "--version", "typer", "libx.so.1: cannot open shared object file"),
    ("PIL._imaging", LIBRARY, "match a.png a.png", "PIL", "libx.so.1: cannot open"),
    ("PIL.PngImagePlugin", LIBRARY, "match a.png a.png", "PIL", "libx.so.1: cannot open"),
    ("tifffile", LIBRARY, "match d.tif d.tif", "tifffile", "libx.so.1: cannot open"),
    ("rich", "def f(:", "match a.png a.png --format table", "rich", "invalid syntax (rich.py"),
    ("torch", LIBRARY, "match a.png a.png --device cuda", "torch", "libx.so.1: cannot open"),
    ("torch", "", "match a.png a.png --device cuda", "torch", "module 'torch' has no attribute"),
    ("torch", "import _nothing", "loss f.npz f.npz", "torch", "No module named '_nothing'"),
    ("scipy", LIBRARY, "loss f.npz f.npz", "scipy", "libx.so.1: cannot open"),
]


@pytest.fixture
def run_with(tmp_path, save, rng):
    """Run the command with a module of another text: (exit code, stdout, stderr)."""
    import tifffile

    save("a.png", rng.integers(0, 256, (9, 9), dtype=np.uint8))
    tifffile.imwrite(tmp_path / "d.tif", rng.integers(0, 9999, (9, 9, 3), dtype=np.uint16))
    np.savez(tmp_path / "f.npz", f=rng.random((2, 3, 4)), p=rng.random((2, 3, 4)))
    own = str(Path(patchsim.__file__).parents[1])

    def run(name, text, words, **variables):
        broken = tmp_path / f"{name.rpartition('.')[2]}.py"
        broken.write_text(text.format(name) if text == NOT_THERE else text)
        hook = IN_PLACE.format(name=name, file=str(broken))
        (tmp_path / "sitecustomize.py").write_text(hook)
        done = subprocess.run(
            [sys.executable, "-m", "patchsim", *words.split()],
            capture_output=True, text=True, cwd=tmp_path,
            env={**ENVIRONMENT, "PYTHONPATH": f"{own}:{tmp_path}", **variables},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.skipif(sys.platform == "win32", reason="the path of modules has another separator")
@pytest.mark.parametrize(("name", "text", "words", "package", "reason"), BROKEN)
def test_a_package_that_does_not_load_is_named(name, text, words, package, reason, run_with):
    code, out, err = run_with(name, text, words)
    assert (code, out) == (3, ""), err
    what = "is broken or of another version" if "attribute" in reason else "does not load"
    assert f"patchsim: package {package} {what}: {reason}" in err
    distribution = {"PIL": "pillow"}.get(package, package)
    assert said(err).endswith(f"; reinstall it\npip install --force-reinstall {distribution}")
    assert "report" not in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="the path of modules has another separator")
def test_the_traceback_is_for_debug_and_nothing_for_the_prompt(run_with):
    assert "Traceback" in run_with("typer", LIBRARY, "match a.png a.png --debug")[2]
    asked = run_with("typer", LIBRARY, "", _PATCHSIM_COMPLETE="bash_complete")
    assert asked == (3, "", "")


def caught(action):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of any type
        action()
    return packages.failure(raised.value)


def test_other_errors_are_no_packages():
    def lack():
        raise MemoryError("import numpy")

    for action in (
        lambda: 1 / 0, lambda: Path("/nowhere").read_bytes(), lambda: compile("(", "a.py", "exec"),
        lambda: np.zeros(3).nothing, lambda: sys.nothing, lack,
    ):  # fmt: skip
        assert caught(action) is None
    assert packages.failure(KeyboardInterrupt()) is None


def test_a_module_of_pythons_is_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "colorsys.py").write_text("import nothing_here")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    told = caught(lambda: __import__("colorsys"))
    assert (
        told == f"{tmp_path}/colorsys.py stands in the way of Python's module colorsys; rename it"
    )
    (tmp_path / "other.py").write_text("import colorsys")
    assert caught(lambda: __import__("other")) == told  # a package that needs it is blameless
    missing = packages.failure(ModuleNotFoundError("No module named '_bz2'", name="_bz2"))
    assert missing == (
        "Python's module _bz2 does not load: No module named '_bz2'; reinstall Python"
    )


def test_the_cause_is_told_on_one_line_and_escaped():
    error = ImportError("IMPORTANT: PLEASE READ THIS\n\nlong advice", name="numpy")
    error.__cause__ = ImportError("\n libx\x1b[31m.so: cannot open;\nmore")
    assert packages.failure(error) == (
        "package numpy does not load: libx\\x1b[31m.so: cannot open; reinstall it\n"
        "pip install --force-reinstall numpy"
    )


def test_a_package_without_files_or_memory_to_load_it_is_not_to_blame():
    for why in (
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "numpy/__init__.py"),
        ImportError("libx.so: failed to map segment from shared object"),
    ):
        error = ImportError("advice", name="numpy")
        error.__cause__ = why
        told = packages.failure(error)
        assert told.startswith("package numpy does not load: ")
        assert told.endswith(";\nclose other programs, or raise the limits of the shell (ulimit)")

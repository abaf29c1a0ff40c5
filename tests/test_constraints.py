"""What is pinned can be installed from PyPI alone, on every Python that is supported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")

# What uv says when it cannot ask the index, as opposed to when nothing fits.
OFFLINE = ("error sending request", "Failed to fetch", "dns error", "timed out")


@pytest.mark.slow  # asks PyPI for hundreds of packages
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("constraints", ["constraints.txt", "constraints-ci.txt"])
def test_constraints_resolve_with_pypi_alone(constraints, python):
    # Nothing that this machine's settings add to PyPI. uv keeps what it asked in its cache. For the
    # few packages whose metadata must be built it would download the other interpreter first.
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    command = [
        UV, "pip", "compile", "--quiet", "--no-config", "--no-python-downloads",
        "--python-version", python, "--constraints", constraints,
        "--extra", "test", "--extra", "dev", "pyproject.toml",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode and any(text in done.stderr for text in OFFLINE):
        pytest.skip(f"PyPI cannot be asked from here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    pinned = dict(line.split("==") for line in done.stdout.split() if "==" in line)
    assert pinned["torch"] == "2.13.0"


def test_everything_that_is_installed_for_tests_is_pinned():
    pins = {
        line.split("==")[0].lower().replace("_", "-").replace(".", "-")
        for name in ("constraints.txt", "constraints-ci.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    }
    done = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format", "freeze"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = {line.split("==")[0].lower().replace("_", "-") for line in done.stdout.splitlines()}
    # What a new environment has, and what torch's builds for CUDA bring, is theirs to choose.
    left = {name for name in names - pins if not name.startswith(("nvidia-", "cuda-"))}
    assert left <= {"pip", "setuptools", "wheel", "patchsim-match", "patchsim"}

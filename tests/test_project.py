"""The files around the code say what `pyproject.toml` says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import patchsim

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def needs(lines):
    return {re.sub(r"\s*;.*", "", line).replace(" ", "") for line in lines}


def test_the_citation_names_this_version():
    citation = read("CITATION.cff")
    assert citation["version"] == patchsim.__version__
    assert citation["license"] == PROJECT["license"]


def test_the_recipe_needs_what_the_package_needs():
    recipe = read("recipe/recipe.yaml")
    run = {line.replace("pytorch", "torch") for line in recipe["requirements"]["run"]}
    assert needs(run) - {"python"} == needs(PROJECT["dependencies"])
    assert recipe["context"]["version"] == patchsim.__version__
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    scripts = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts


def test_workflows_pin_every_action_by_its_hash():
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    used = [
        step["uses"]
        for path in workflows
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        for step in job["steps"]
        if "uses" in step
    ]
    assert len(used) > 5
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []

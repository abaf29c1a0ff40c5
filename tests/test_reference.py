"""The pages in docs/reference/ are what docstrings and help say, of all names and options."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import typer

from patchsim.cli.app import app

ROOT = Path(__file__).parents[1]
DROP_INS = ("mtm", "opencv", "pyscreeze", "skimage")
MODULES = ("patchsim", *(f"patchsim.compat.{name}" for name in DROP_INS))


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(reference):
    for path, text in reference.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run python tools/reference.py"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_on_the_page(name, reference):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [
        one
        for one, thing in vars(module).items()
        if not one.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == name
    ]
    titles = re.findall(r"^### (.*)$", reference.python_page(), re.MULTILINE)
    assert public
    assert {f"{name}.{one}" for one in public} <= set(titles)


def test_every_option_is_on_the_page(reference):
    page = reference.commands_page()
    commands = typer.main.get_command(app).commands
    sections = re.split(r"^## patchsim ", page, flags=re.MULTILINE)[1:]
    assert [one.split("\n")[0] for one in sections] == list(commands)
    for section, command in zip(sections, commands.values(), strict=True):
        context = command.make_context(command.name, [], resilient_parsing=True)
        for one in command.get_params(context):
            name = one.metavar if one.param_type_name == "argument" else one.opts[0]
            assert f"`{name}" in section or f", {name}" in section
        assert "Exit codes" in section or command.name not in ("match", "scan", "loss")


def test_text_is_no_markup(reference):
    assert reference._in_markdown("[H, W] of ``a*b`` <img> 2*3 `c[d]`") == (
        r"\[H, W] of `a*b` \<img> 2\*3 `c[d]`"
    )

"""The help lists each option once, those that people need first on top, and examples last."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import typer

from patchsim.cli import option_groups
from patchsim.cli.app import app

COMMANDS = typer.main.get_command(app).commands


def options(name):
    context = COMMANDS[name].make_context(name, [], resilient_parsing=True)
    return [one for one in COMMANDS[name].get_params(context) if one.param_type_name == "option"]


@pytest.mark.parametrize("name", ["match", "scan", "loss"])
def test_each_option_stands_in_one_group(name):
    groups = option_groups.grouped(name, options(name))
    assert next(iter(groups)) == "Most used"
    assert len(groups["Most used"]) <= 10
    assert [one.name for one in groups["Other"]] == ["help"]
    listed = Counter(one.name for members in groups.values() for one in members)
    assert listed == Counter(one.name for one in options(name))


def test_groups_name_no_option_that_is_gone():
    known = {one.name for name in ("match", "scan", "loss") for one in options(name)}
    named = {
        one
        for groups in option_groups._GROUPS.values()
        for members in groups.values()
        for one in members
    }
    assert named <= known


def test_a_command_without_groups_lists_its_options():
    assert list(option_groups.grouped("doctor", options("doctor"))) == ["Options"]


@pytest.mark.parametrize("name", ["match", "scan", "loss"])
def test_sections_come_in_the_order_of_need(name, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(name, "--help")
    titles = re.findall(r"^([A-Z][\w ]+):$", out, re.MULTILINE)
    assert titles[:2] == ["Arguments", "Most used"]
    assert titles[-4:] == ["Other", "Environment", "Exit codes", "Examples"]
    # All texts begin in one column.
    columns = {
        len(found) for found in re.findall(r"^  -[^ ].{0,22}? {2,}(?=\w)", out, re.MULTILINE)
    }
    assert columns == {28}

"""The manual page says what the help says, and is sound."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from helpers import ENVIRONMENT

from patchsim.cli import manual
from patchsim.cli.app import app

FILE = Path(__file__).parents[2] / "share" / "man" / "man1" / "patchsim.1"


def test_the_file_is_what_the_command_makes():
    made = subprocess.run(
        [sys.executable, "-m", "patchsim.cli.manual"],
        capture_output=True, text=True, env={**ENVIRONMENT, "PATCHSIM_METRIC": "zncc"}, check=True,
    )  # fmt: skip
    assert made.stdout == FILE.read_text(encoding="utf-8")


def test_all_options_variables_and_exit_codes_are_there():
    text = manual.page().replace("\\-", "-")
    for name, command in typer.main.get_command(app).commands.items():
        context = command.make_context(name, [], resilient_parsing=True)
        part = text.partition(f'.SH "PATCHSIM {name.upper()}"')[2].partition(".SH ")[0]
        for option in command.get_params(context):
            for word in option.opts if option.param_type_name == "option" else [option.metavar]:
                assert re.search(rf"^\.B .*{re.escape(word)}\b", part, re.MULTILINE), (name, word)
        assert '.SS "Exit codes"' in part
        assert '.SS "Examples"' in part
    assert "PATCHSIM_HEATMAP" in text.partition(".SH ENVIRONMENT")[2]


def test_text_that_looks_like_a_macro_is_text():
    assert manual._escaped(".png or -x\\t") == "\\&.png or \\-x\\et"
    assert manual._escaped("'a'") == "\\&'a'"


def test_mandoc_finds_no_fault():
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(
        [mandoc, "-Tlint", "-W", "style", str(FILE)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_reader_sees_an_option_with_its_text():
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(
        [mandoc, "-Tascii", str(FILE)], capture_output=True, text=True, check=True
    )
    plain = re.sub(r".\x08", "", done.stdout)
    shown = re.search(r"^ +--print TEMPLATE\n((?: {8,}|\t).+\n)+", plain, re.MULTILINE)[0]
    assert "\\t is" in shown
    assert max(map(len, plain.expandtabs().splitlines())) <= 90

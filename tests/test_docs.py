"""README, docs and examples do what they say."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ENVIRONMENT, load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}
SHELL = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{ENVIRONMENT['PATH']}"}


@pytest.fixture
def examples(tmp_path):
    return shutil.copytree(ROOT / "examples", tmp_path / "examples")


def output(words, folder):
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env=SHELL, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sessions():
    for text in TEXTS.values():
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            lines = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
            for command, expected in lines:
                yield pytest.param(command, expected, id=command[:60])


@pytest.mark.parametrize(("command", "expected"), list(sessions()))
def test_shell_sessions(command, expected, examples):
    assert output(["bash", "-c", command], examples) == expected


def snippets():
    pattern = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
    return [found for text in TEXTS.values() for found in pattern.findall(text)]


@pytest.fixture
def printed(examples, monkeypatch, capfd):
    """Run a script of the examples in this process, which has its imports: what it prints."""

    def run(path, *words):
        monkeypatch.chdir(examples)
        monkeypatch.setattr(sys, "argv", [str(path), *words])
        capfd.readouterr()
        runpy.run_path(str(path), run_name="__main__")
        return capfd.readouterr().out

    return run


@pytest.mark.parametrize(("code", "expected"), snippets())
def test_python_snippets(code, expected, examples, printed):
    (examples / "snippet.py").write_text(code)
    # Workers of a cluster import the script, and the import of PyScreeze leaves pipes open.
    if "Cluster(" in code or "import pyscreeze" in code:
        assert output([sys.executable, "snippet.py"], examples) == expected
    else:
        assert printed("snippet.py") == expected


def test_pages_have_sessions_and_snippets():
    assert len(list(sessions())) >= 4
    assert len(snippets()) == sum(text.count("```python") for text in TEXTS.values())


def test_the_site_builds_without_a_warning(tmp_path):
    for name in ("docs", "zensical.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    output([Path(sys.executable).with_name("zensical"), "build", "--strict"], tmp_path)
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in PAGES[1:]}
    site = tmp_path / "site"
    assert pages <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}


def test_every_page_is_in_the_menu_of_the_site():
    listed = set(re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text()))
    assert {path.relative_to(ROOT / "docs").as_posix() for path in PAGES[1:]} == listed


def test_the_workflow_of_the_docs_is_one(tmp_path):
    page = ROOT / "docs" / "how-to" / "github-workflow.md"
    (block,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "screenshot.yml").write_text(block)
    output([Path(sys.executable).with_name("zizmor"), "--offline", ".github"], tmp_path)


@pytest.mark.skipif(shutil.which("compare") is None, reason="ImageMagick is not here")
def test_imagemagick_finds_one_of_the_places(examples):
    commands = (ROOT / "docs" / "coming-from" / "imagemagick.md").read_text()
    theirs = re.search(r"^compare .*", commands, re.MULTILINE)[0].split()
    # A part of the desktop, because ImageMagick compares every window whole.
    load(examples / "desktop.png").crop((60, 80, 260, 180)).save(examples / "desktop.png")
    done = subprocess.run(theirs, cwd=examples, capture_output=True, text=True, timeout=120)
    place = tuple(int(value) for value in re.search(r"@ (\d+),(\d+)", done.stderr).groups())
    ours = output(
        ["bash", "-c", "patchsim match desktop.png folder.png --metric ssd --threshold 1"
         " --no-heatmap --columns x,y --no-header"], examples,
    )  # fmt: skip
    assert place in [tuple(map(int, line.split())) for line in ours.splitlines()]


def test_the_readme_is_short():
    assert README.count("\n") <= 120


def anchors(text):
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=list(TEXTS))
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_picture_of_the_readme_is_what_the_command_draws(examples):
    (command, _) = next(one.values for one in sessions() if "found.png" in one.values[0])
    output(["bash", "-c", command], examples)
    np.testing.assert_array_equal(load(examples / "found.png"), load(ROOT / "docs" / "found.png"))


def test_every_option_is_in_the_docs(run):
    options = set()
    for command in ("match", "scan", "merge", "loss", "doctor"):
        _, out, _ = run(command, "--help")
        options |= set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", out, re.MULTILINE)) - {"--help"}
    assert len(options) > 25
    assert {option for option in options if f"`{option}" not in "".join(TEXTS.values())} == set()


def test_pictures_are_what_draw_draws(examples, printed):
    drawn = {path.name: np.asarray(load(path)) for path in examples.glob("*.png")}
    printed("draw.py")
    assert len(drawn) == 5
    for name, pixels in drawn.items():
        np.testing.assert_array_equal(np.asarray(load(examples / name)), pixels)


def test_find_icon(printed):
    lines = printed("find_icon.py").splitlines()
    assert len(lines) == 6
    assert lines[-1] == "folder at 711,329 with similarity 1.000"


def test_coins(examples, printed):
    told, *lines = printed("coins.py").splitlines()
    assert told.startswith("threshold auto: 0.46, between match 24 at 0.64")
    assert len(lines) == 24
    assert lines[0] == "coin at 154,128 like small.png: 1.000, margin 0.718"
    drawn = np.asarray(load(examples / "found.png"))
    assert drawn.shape == (303, 384, 3)
    assert (drawn != drawn[..., :1]).any()  # boxes have a colour, the photograph has none


def test_where_to_click(examples):
    lines = output(["sh", "where_to_click.sh"], examples).splitlines()
    assert lines[0] == "108 128"
    assert len(lines) == 6


def test_coprocesses(examples):
    expected = "desktop.png: click 108 128\nretina.png: not there\ndesktop.png: click 108 128\n"
    assert output(["bash", "coprocess.sh"], examples) == expected
    assert output([sys.executable, "coprocess.py"], examples) == expected


def test_learn_kernel(printed):
    lines = printed("learn_kernel.py").splitlines()
    first, last = (float(re.search(r"folder ([\d.]+)", lines[i])[1]) for i in (0, -1))
    assert last > 0.95 > first


def test_train_slots(examples, printed):
    out = printed("train_slots.py", "run", "50")
    curve = output(
        ["bash", "-c", "patchsim loss run/step-*.safetensors | tail -n +2 | cut -f5"], examples
    )
    losses = [float(line) for line in curve.split()]
    assert len(losses) == out.count("saved") == 3
    assert losses[-1] < losses[0] / 2


def test_docstring_examples():
    import doctest

    from patchsim import similarity
    from patchsim.matching import match
    from patchsim.scanning import scanner
    from patchsim.slots import losses

    for module in (match, scanner, similarity, losses):
        tried = doctest.testmod(module)
        assert tried.attempted >= 3
        assert tried.failed == 0

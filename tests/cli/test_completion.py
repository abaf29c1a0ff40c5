"""Tab in bash, zsh and fish: what the command answers to each, and a real bash."""

from __future__ import annotations

import fcntl
import functools
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import shellingham
from helpers import ENVIRONMENT, patchsim

from patchsim import choices
from patchsim.cli import completion, console
from patchsim.cli.app import app
from patchsim.scanning import listing

BIN = Path(sys.executable).parent
SHELL = {**ENVIRONMENT, "PATH": f"{BIN}{os.pathsep}{ENVIRONMENT['PATH']}"}


@pytest.fixture
def answered(monkeypatch, capfd):
    """What the command prints for the line typed so far, and its exit code; 1 asks for a file."""

    def answer(shell, line, word=""):
        for name, value in (("COMPLETE", shell), ("LINE", line), ("WORD", word)):
            monkeypatch.setenv(f"_PATCHSIM_{name}", value)
        code = completion.answer(app)
        out, err = capfd.readouterr()
        assert err == ""
        return out, code

    return answer


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Return the home folder of a shell: with the completion installed, and files to complete."""

    @functools.cache
    def made(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        home = tmp_path_factory.mktemp(shell)
        install(shell, home)
        names = ("found.png", "pict.PNG", "pict.txt", "sheets.csv", "notes.bin")
        for name in (*names, "a big picture.png"):
            (home / name).touch()
        (home / "shots").mkdir()
        return home

    return made


def values(line):
    """The words that complete a line, without what they mean."""
    return [one.value for one in completion.answers(app, line)]


MATCH = [
    ("--metric", choices.METRICS),
    ("--color", choices.COLORS),
    ("--padding", choices.PADDINGS),
    ("--engine", ("auto", *choices.ENGINES)),
    ("--device", choices.DEVICES),
    ("--format", choices.FORMATS),
    ("--flips", choices.FLIPS),
]
LOSS = [
    ("--loss", choices.LOSSES),
    ("--layout", choices.LAYOUTS),
    ("--reduction", choices.REDUCTIONS),
    ("--format", choices.FORMATS),
    ("--device", choices.DEVICES),
]
ALL = [("match", *case) for case in MATCH] + [("loss", *case) for case in LOSS]


@pytest.mark.parametrize(("command", "option", "words"), ALL)
def test_the_values_of_an_option_are_completed(command, option, words):
    assert values(f"patchsim {command} {option} ") == list(words)
    assert values(f"patchsim {command} {option}=") == list(words)
    assert values(f"patchsim {command} a.png {option}={words[0]}") == [
        word for word in words if word.startswith(words[0])
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_beginning_of_a_word_narrows_the_values(shell, answered):
    assert answered(shell, "patchsim match a.png b.png --metric z", "z") == ("zncc\n", 0)


def test_each_shell_gets_the_part_of_a_word_that_it_completes(answered):
    line = "patchsim match a.png b.png --metric=z"
    assert answered("bash", line, "z") == ("zncc\n", 0)  # behind = in COMP_WORDBREAKS
    assert answered("bash", line, "--metric=z") == ("--metric=zncc\n", 0)  # = is not in it
    assert answered("zsh", line) == ("zncc\n", 0)  # its script skips what is before =
    assert answered("fish", line) == ("--metric=zncc\n", 0)
    assert answered("bash", "patchsim match --device cuda:", "")[0].split()[:2] == ["0", "1"]
    assert answered("zsh", "patchsim match --device cuda:")[0].startswith("cuda\\:0\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("patchsim ma", ["match"]),
        ("patchsim ", ["match", "scan", "merge", "loss", "doctor"]),
        ("patchsim --v", ["--version"]),
        ("patchsim --show-completion f", ["fish"]),
        ("patchsim match --threshold a", ["auto"]),
        ("patchsim match a.png --thr", ["--threshold", "--threads"]),
        ("patchsim match --threshold 1 --thr", ["--threads"]),  # not what is given already
        ("patchsim match --device cuda:1", ["cuda:1"]),
        ("patchsim match --top ", []),  # a number, and no file
        ("patchsim match --nothing=", []),
        ("patchsim match --quiet=", []),
        ("patchsim match 'a b' --metric 'z", ["zncc"]),
    ],
)
def test_commands_options_and_values(line, words):
    assert values(line) == words


FILES = completion.Files


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("match ex", FILES.PICTURES),
        ("match a.png ", FILES.PICTURES),
        ("match -- --me", FILES.PICTURES),
        ("match a\\ b", FILES.PICTURES),
        ("match --quiet ", FILES.PICTURES),
        ("match a.png b.png --mask ", FILES.PICTURES),
        ("match --image-mask=ex", FILES.PICTURES),
        ("scan shots/", FILES.PICTURES),
        ("scan shots -k ", FILES.PICTURES),
        ("scan shots --kernel=", FILES.PICTURES),
        ("scan --list ", FILES.ANY),
        ("match --map ", FILES.ANY),
        ("match --map=ex", FILES.ANY),
        ("match --overlay ex", FILES.ANY),
        ("loss fea", FILES.ANY),
        ("loss -- fea", FILES.ANY),
        ("merge ", FILES.ANY),
    ],
)
def test_files_are_left_to_the_shell(line, files):
    assert completion.answers(app, f"patchsim {line}") is files


def test_the_exit_code_asks_zsh_for_a_file(answered):
    assert answered("zsh", "patchsim match --overlay ex") == ("", 1)
    out, code = answered("zsh", "patchsim match ex")
    assert code == 4
    pattern = re.compile(rf".*\.({out.strip()})", re.IGNORECASE)
    assert all(pattern.fullmatch(f"a{ending}") for ending in (*listing.SUFFIXES, ".PNG", ".svs"))
    assert not any(map(pattern.fullmatch, ["a.txt", "a.html", "a.pngx", "png", "a.safetensors"]))


@pytest.mark.parametrize(
    ("typed", "left", "names", "code"),
    [
        ("match eq=", "", ["eq=a.png", "eq=b.PNG"], 4),
        ("match eq=a", "a", ["eq=a.png"], 4),
        ("match eq\\=a", "eq\\=a", ["eq=a.png"], 4),
        ("match 'eq=a", "eq=a", ["eq=a.png"], 4),
        ("match --mask=eq=", "", ["--mask=eq=a.png", "--mask=eq=b.PNG"], 4),
        ("match --mask=", "", ["--mask=d:s/", "--mask=eq=a.png", "--mask=eq=b.PNG"], 4),
        ("match --mask=eq=", "--mask=eq=", ["--mask=eq=a.png", "--mask=eq=b.PNG"], 4),
        ("match sp\\ =c\\ d", "c\\ d", [], 0),
        ("match d:s/sp\\ =c\\ d", "c\\ d", ["d:s/sp =c d.tif"], 4),
        ("match d:s/n", "s/n", ["d:s/no picture"], 4),
        ("match .h", ".h", [".hidden.png"], 4),
        ("match --overlay eq=", "", ["eq=a.png", "eq=b.PNG", "eq=c.txt"], 4),
        ("match zz", "zz", [], 1),
        ("match eq=zz", "zz", [], 0),  # bash would complete zz alone
    ],
)
def test_bash_and_fish_get_the_names_of_files(
    typed, left, names, code, answered, tmp_path, monkeypatch
):
    (tmp_path / "d:s").mkdir()
    files = "eq=a.png", "eq=b.PNG", "eq=c.txt", ".hidden.png", "d:s/sp =c d.tif", "d:s/no picture"
    for name in (*files, "eq=a\nb.png"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    out, answer = answered("bash", f"patchsim {typed}", left)
    word = completion._words(typed)[-1]
    before = word.removesuffix(left.replace("\\", ""))
    assert sorted(before + line for line in out.splitlines()) == names
    assert answer == code
    out, answer = answered("fish", f"patchsim {typed}")
    assert sorted(out.splitlines()) == names
    assert answer == (4 if names else 1)


def test_a_link_that_leads_nowhere_hides_no_other_name(answered, tmp_path, monkeypatch):
    (tmp_path / "eq=b.png").touch()
    (tmp_path / "eq=a.png").symlink_to("x" * 300)  # a name that no file may have
    monkeypatch.chdir(tmp_path)
    out, _ = answered("bash", "patchsim match eq=", "")
    assert sorted(out.splitlines()) == ["a.png", "b.png"]


def test_a_fault_is_not_printed_into_the_prompt(monkeypatch, capfd):
    monkeypatch.setenv("_PATCHSIM_COMPLETE", "bash")
    monkeypatch.setattr(completion, "answers", lambda *_: 1 / 0)
    assert completion.answer(app) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shell", "begins"),
    [
        ("bash", "_patchsim_completion()"),
        ("zsh", "#compdef patchsim"),
        ("fish", "complete "),
        ("powershell", "Import-Module"),
        ("pwsh", "Import-Module"),
    ],
)
def test_the_script_of_the_named_shell_is_shown(shell, begins, run):
    for words in (["--show-completion", shell], [f"--show-completion={shell}"]):
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        assert out.startswith(begins)


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_a_shell_without_completion_is_named(option, run, monkeypatch):
    says = "patchsim: shell 'dash' has no completion; there is bash, zsh, fish, powershell, pwsh,"
    for words in ([option, "dash"], [option]):
        monkeypatch.setattr("shellingham.detect_shell", lambda: ("dash", "/bin/dash"))
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert err.startswith(says)
    monkeypatch.setattr("shellingham.detect_shell", fail_to_detect)
    code, _, err = run(option)
    assert code == 2
    assert "the calling shell is not known; name one of bash," in err


def fail_to_detect():
    raise shellingham.ShellDetectionFailure


@pytest.mark.parametrize(
    ("words", "surplus"),
    [
        (["--version", "extra"], "extra"),
        (["--version", "match", "a b"], "match 'a b'"),
        (["--show-completion", "zsh", "fish"], "fish"),
        (["--install-completion=zsh", "fish"], "fish"),
    ],
)
def test_words_behind_an_option_that_stands_alone_are_refused(words, surplus, run):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err == f"patchsim: {words[0]} stands alone, but {surplus!r} follows; leave that out\n"


def install(shell, home):
    process = patchsim("--install-completion", shell, env={**SHELL, "HOME": str(home)})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


def test_installing_twice_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("ZDOTDIR", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'")  # its last line does not end
    written = []
    for _ in range(2):
        for shell in ("bash", "zsh", "fish"):
            assert install(shell, tmp_path).startswith(f"{shell} completion is installed in ")
        written.append({p: p.read_text() for p in tmp_path.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert sorted(str(path.relative_to(tmp_path)) for path in written[0]) == [
        ".bash_completions/patchsim.sh",
        ".bashrc",
        ".config/fish/completions/patchsim.fish",
        ".zfunc/_patchsim",
        ".zshrc",
    ]
    lines = (tmp_path / ".bashrc").read_text().splitlines()
    assert lines == ["alias ll='ls -l'", f"source '{tmp_path}/.bash_completions/patchsim.sh'"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_read_their_completion(shell, tmp_path, run):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "completion"
    path.write_text(run("--show-completion", shell)[1])
    subprocess.run([shell, "-n", path], check=True, timeout=60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_that_asks_gets_its_own_completion(shell, tmp_path):
    # As a user does it, without the name of a shell: the command looks for its parent.
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    begins = {"bash": "_patchsim_completion()", "zsh": "#compdef patchsim", "fish": "complete "}
    done = subprocess.run(
        [shell, "-c", "patchsim --show-completion; true"],
        capture_output=True, text=True, env={**SHELL, "HOME": str(tmp_path)},
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith(begins[shell])


@pytest.mark.parametrize(
    ("ended", "code", "says"),
    [(None, 0, ""), (0, 0, ""), (1, 1, ""), ("it failed", 3, "patchsim: it failed\n")],
)
def test_what_ends_the_process_decides_the_exit_code(ended, code, says, capfd):
    def app(*_, **__):
        sys.exit(ended)

    assert console.run(app, ["match"]) == code
    assert capfd.readouterr() == ("", says)


START = {
    "bash": ["--noprofile", "-i"],
    "zsh": ["-i"],
    "fish": ["-i"],
}


class Shell:
    """An interactive shell on a terminal of its own, with the start files of a home folder."""

    def __init__(self, shell, home):
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(home)
            gone = ("ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
            env = {name: value for name, value in SHELL.items() if name not in gone}
            env |= {"HOME": str(home), "TERM": "dumb", "PS1": "> "}
            os.execvpe(shell, [shell, *START[shell]], env)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))

    def type(self, keys, until):
        """What the terminal shows after some keys, once that text is among it."""
        os.write(self.terminal, keys.encode())
        seen, end = "", time.monotonic() + 60
        while until not in seen:
            assert time.monotonic() < end, seen
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 4096).decode(errors="replace")
        return seen

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.child, 0)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("patchsim match a.png b.png --metric z", "zncc"),
        ("patchsim match a.png b.png --metric=z", "--metric=zncc"),
        ("patchsim match --device=cu", "--device=cuda"),
        ("patchsim match --threshold a", "auto"),
        ("patchsim match --overlay=fo", "--overlay=found.png"),
        ("patchsim lo", "loss"),
        ("patchsim match pi", "pict.PNG"),
        ("patchsim match pict.PNG pict.PNG --mask=pi", "--mask=pict.PNG"),
        ("patchsim scan sh", "shots/"),
        ("patchsim match no", "notes.bin"),  # no picture fits
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_first_tab_in_a_new_shell(shell, typed, shown, homes):
    terminal = Shell(shell, homes(shell))
    try:
        terminal.type('echo re""ady\n', "ready")
        typed_part, _, rest = typed.rpartition(" ")
        more = shown[len(rest) :] if shown.startswith(rest) else shown
        terminal.type(f"{typed_part} {rest}", rest)
        seen = terminal.type("\t", more)
        assert not any(text in seen for text in ("fault", "pict.txt", "sheets"))
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("--mask=eq=", "--mask=eq=ual.png"),
        ("eq=", "eq=ual.png"),
        ("co:", "co:lon.png"),
        ("f=older/", "f=older/in.png"),
        ("--overlay va=", "--overlay va=lue.txt"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_name_with_an_equals_sign_or_a_colon(shell, typed, name, homes):
    home = homes(shell)
    (home / "f=older").mkdir(exist_ok=True)
    for other in ("eq=ual.png", "co:lon.png", "f=older/in.png", "va=lue.txt"):
        (home / other).touch()
    terminal = Shell(shell, home)
    try:
        terminal.type('echo re""ady\n', "ready")
        terminal.type(f"patchsim match {typed}", typed)
        terminal.type("\t", name[len(typed) :])
        os.write(terminal.terminal, b"\x01")  # to the first column, so that the line is run by echo
        seen = terminal.type("echo \n", f"patchsim match {name}")
        assert typed * 2 not in seen
    finally:
        terminal.close()


@pytest.mark.parametrize("other", [None, "o\nx.png", "new\nline/y.png"])
def test_a_name_with_spaces_in_a_real_bash(other, homes):
    home = homes("bash")
    if other is not None:  # of two lines, of which the second looks like a name of a picture
        (home / f"a b{other}").parent.mkdir(exist_ok=True)
        (home / f"a b{other}").touch()
    terminal = Shell("bash", home)
    try:
        terminal.type('echo re""ady\n', "ready\r\n")
        shown = terminal.type("patchsim match a\\ b\t", "picture.png")
        assert "a\\ big\\ picture.png" in shown
    finally:
        terminal.close()

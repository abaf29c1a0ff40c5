from __future__ import annotations

import gc
import os
import shutil
import signal
import sys

# A shell that starts the tests in the background has SIGINT ignored, which their processes inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run beside each other. Idle threads of OpenMP and OpenBLAS that spin would take the others'
# time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Hundreds of tests start a process. Without bytecode on disk each one compiles patchsim anew, which
# takes as long as a small search.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import numpy as np
import pytest
import skimage.data
from helpers import interpreter
from PIL import Image

from patchsim.planning import batching

sys.dont_write_bytecode = False  # nor are the tests compiled again for `make slow`


def pytest_collection_finish():
    """Spare collections of garbage the modules and tests, which stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fresh_plans():
    """Plans that a test's engines or costs changed must not serve another."""
    batching.forget()
    yield
    batching.forget()


@pytest.fixture(scope="session", autouse=True)
def _interpreters():
    """Processes that answer several tests end with the last test."""
    yield
    interpreter.close_all()


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def astronaut():
    """A photograph, uint8 [512, 512, 3]."""
    return skimage.data.astronaut()


@pytest.fixture(scope="session")
def coffee():
    """A photograph, uint8 [400, 600, 3]."""
    return skimage.data.coffee()


@pytest.fixture
def save(tmp_path):
    """Write an array or PIL image to a file of the test's folder."""

    def write(name, picture, **options):
        path = tmp_path / name
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(path, **options)
        return path

    return write


@pytest.fixture(scope="session")
def whole_command():
    """The command with its subcommands, which Typer makes in a third of the time of a call."""
    from typer.main import get_command

    from patchsim.cli.app import app

    return get_command(app)


@pytest.fixture
def run(monkeypatch, tmp_path, capfd, whole_command):
    """Run the command in this process, in the test's folder: (exit code, stdout, stderr)."""
    from patchsim.cli import console

    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        capfd.readouterr()
        code = console.run(whole_command, [str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return command


@pytest.fixture(scope="module")
def cluster():
    """Two processes, which serve all tests of a module that do not hurt them.

    Idle workers take a few hundredths of a core, which other modules have without them.
    """
    pytest.importorskip("distributed")
    import patchsim

    with patchsim.Cluster("local:2") as opened:
        opened.connect()
        yield opened


@pytest.fixture(scope="module")
def scheduler(cluster):
    """The address of a scheduler that has workers."""
    return cluster._connected()._local.scheduler_address


@pytest.fixture(scope="session")
def chromium():
    """A browser without a window, which loads pages from disk."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()

"""What several test modules do in the same way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

# Warnings are errors in the commands that tests start, too.
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error"}


def load(path):
    """A decoded picture whose file is closed."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def patchsim(*words, **options):
    """Start the installed command: a Popen with text pipes."""
    command = str(Path(sys.executable).with_name("patchsim"))
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"text": True, "env": ENVIRONMENT, **streams, **options}
    return subprocess.Popen([command, *map(str, words)], **options)

"""A pipe is read to its end, no further than memory allows, if a picture begins so."""

from __future__ import annotations

import io
import itertools
import os
import queue
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import patchsim
from PIL import Image

from patchsim import InputError
from patchsim.files import waits
from patchsim.pictures import formats, pillow_reader, piped, streams


class Endless(io.RawIOBase):
    """A stream that goes on with zeros for ever, and counts what was read."""

    def __init__(self, start):
        self._start, self.count = start, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        given = self._start[self.count : self.count + len(buffer)] or bytes(len(buffer))
        buffer[: len(given)] = given
        self.count += len(given)
        return len(given)


@pytest.mark.parametrize("start", [b"", b"hello ", b"<html>", b"%PDF-1.7", b"\x89HDF\r\n\x1a\n"])
def test_an_endless_stream_of_no_picture_is_refused_by_its_start(start):
    stream = Endless(start)
    with pytest.raises(InputError, match="standard input is "):
        piped.read_whole(io.BufferedReader(stream), "standard input", None)
    assert stream.count <= 1 << 16


@pytest.mark.parametrize(
    "start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"P6\n", b"qoif"]
)
def test_an_endless_picture_takes_the_memory_and_no_more(start):
    stream = Endless(start)
    with pytest.raises(InputError, match=r"pipe goes on after 3.0 MB; allow more with --memory"):
        piped.read_whole(io.BufferedReader(stream), "pipe", 3_000_000)
    assert stream.count < 3_000_000 + 2 * piped._BLOCK


def test_what_has_an_end_is_whole(rng):
    for size in (0, 1, formats.START, formats.START + 1, piped._BLOCK + formats.START, 3_000_000):
        content = (b"P6\n" + rng.bytes(size))[:size]
        if content and not content.startswith(b"P6\n"):
            continue
        assert piped.read_whole(io.BytesIO(content), "pipe", 3_000_000).read() == content


def test_standard_input_that_does_not_end_is_told_of_once(monkeypatch):
    told, found = queue.SimpleQueue(), queue.SimpleQueue()
    monkeypatch.setattr(waits, "_PATIENCE", 0)
    monkeypatch.setattr(waits, "_tell", told.put)

    def read():
        with streams.open_seekable("-", None) as stream:
            found.put(stream.read())

    source, sink = os.pipe()
    with os.fdopen(source, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe, isatty=lambda: False))
        threading.Thread(target=read, daemon=True).start()
        text = "standard input is a pipe whose end has not come yet; waiting for it"
        assert told.get(timeout=20) == text
        os.write(sink, b"P6\n1 1\n255\nabc")
        assert found.empty()
        os.close(sink)
        assert found.get(timeout=20) == b"P6\n1 1\n255\nabc"
    assert told.empty()


FORMATS = ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "pgm", "pbm", "pfm", "ico", "tga",
           "sgi", "pcx", "qoi", "jp2", "avif"]  # fmt: skip


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_that_pillow_writes_is_known(suffix, astronaut):
    modes = {"pgm": "L", "pbm": "1", "pfm": "F"}
    picture = Image.fromarray(astronaut[:40, :40]).convert(modes.get(suffix, "RGB"))
    stream = io.BytesIO()
    Image.init()
    picture.save(stream, Image.registered_extensions()[f".{suffix}"])
    assert piped.read_whole(io.BytesIO(stream.getvalue()), "pipe", None).tell() == 0


def test_what_pillow_may_know_is_not_refused_by_its_start():
    """Its readers claim beginnings that no format of ours has; they decide on the whole file."""
    starts = {b"".join(pair) for pair in itertools.product((b"P", b"Q"), (b"y\n", b"6\n", b"9\n"))}
    known = {start for start in starts if pillow_reader.has_reader(start)}
    assert known >= {b"P6\n", b"Py\n"}
    assert not known & {b"Q6\n", b"Qy\n", b"Q9\n"}


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no endless file")
def test_standard_input_of_zeros_ends_at_once(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "k.png")
    with Path("/dev/zero").open("rb") as zeros:
        process = patchsim("match", "-", "k.png", cwd=tmp_path, stdin=zeros)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("patchsim: standard input is no picture: it begins with zeros alone")

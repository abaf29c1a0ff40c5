"""Lists of pictures, line by line, whatever they hold."""

from __future__ import annotations

import os
import queue
import threading

import pytest

from patchsim.files import waits
from patchsim.scanning import lines


def read(data, **options):
    source, sink = os.pipe()
    threading.Thread(target=lambda: (os.write(sink, data), os.close(sink))).start()
    try:
        return list(lines.read(source, **options))
    finally:
        os.close(source)


def test_blank_lines_ends_of_windows_and_no_end():
    found = read(b"a.png\n\n  \n\r\nb c.png\r\n d.png ")
    assert [one.name for one in found] == ["a.png", "b c.png", " d.png "]
    assert all(one.fault is None for one in found)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_null_characters_end_paths_that_hold_anything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a\nb.png").touch()
    found = read(b'a\nb.png\0{"x.png\0\0c.png', by_null=True)
    assert [one.source for one in found] == ["a\nb.png", '{"x.png', "c.png"]


def test_lists_with_other_ends_than_asked(monkeypatch):
    data = {True: b"./a.png\n./b.png\n", False: b"./a.png\0./b.png\0"}
    for by_null, advice in ((True, "leave out --null"), (False, "add --null")):
        (found,) = read(data[by_null], by_null=by_null)
        assert found.source is None
        assert advice in found.fault
    monkeypatch.setattr(lines, "_LONGEST", 10)
    (found,) = read(data[True], by_null=True)
    assert "leave out --null" in found.fault


def test_the_first_line_of_a_file_of_resume_asks_nothing():
    (found,) = read(b'{"scan": {"options": "1"}}\n{"image": "a.png", "matches": []}\n')
    assert (found.source, found.fault) == ("a.png", None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_that_is_called_like_a_picture_does_not_hold_up_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.png")
    os.mkfifo("63")  # as of a shell's `<(command)`
    for data, by_null in (
        (b'a.png\n{"image": "a.png"}\n63\n', False),
        (b"a.png\0a.png\0" + b"63", True),
    ):
        *passed, wanted = read(data, by_null=by_null)
        assert [(one.name, one.source) for one in passed] == [("a.png", None)] * 2
        assert all("give it alone to read it" in one.fault for one in passed)
        assert (wanted.source, wanted.fault) == ("63", None)


def test_names_that_are_no_utf8():
    (found,) = read(b"\xff.png\n")
    assert os.fsencode(found.source) == b"\xff.png"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{bad", "is no JSON"),
        (b'{"image": ' + b"[" * 100_000, "is nested too deeply"),
        (b'{"image": "\\ud83d.png"}', "cannot be a path"),
        (b"{}", "a request has an image"),
        (b'{"image": 3}', "a request has an image"),
        (b'{"image": "a.png", "image_bytes": "nothex"}', "image_bytes is nothex, not the bytes"),
        (b'{"image_bytes": 3}', "image_bytes is 3, not the bytes"),
        (b'{"scan": 3}', "scan is no key"),
        (b'{"scan": {}, "image": "a.png"}', "scan is no key"),
        (b'{"image": "a.png", "regoin": 1}', "regoin is no key"),
        (b'{"image": "a.png", "region": [1, 2]}', "not four whole numbers"),
        (b'{"image": "a.png", "region": [1, 2, 0, 4]}', "is empty"),
        (b"-", "no picture of a list"),
        (b'{"image": "-"}', "no picture of a list"),
    ],
)
def test_broken_lines_are_answered_with_an_error(line, says):
    broken, sound = read(line + b"\nb.png\n")
    assert says in broken.fault
    assert sound.source == "b.png"


def test_objects():
    (found,) = read(b'{"image": "a.png", "region": [1, 2, 3, 4]}\n')
    assert (found.source, found.region) == ("a.png", (1, 2, 3, 4))


def test_a_line_without_end_takes_no_memory(monkeypatch):
    monkeypatch.setattr(lines, "_LONGEST", 100)
    monkeypatch.setattr(lines, "_CHUNK", 16)
    cut, after = read(b"x" * 1000 + b"\nb.png\n")
    assert "more than" in cut.fault
    assert len(cut.name) < 200
    assert after.source == "b.png"


def test_a_line_does_not_wait_for_the_next():
    source, sink = os.pipe()
    found = lines.read(source)
    os.write(sink, b"a.png\nb.p")
    assert next(found).name == "a.png"
    os.write(sink, b"ng\n")
    assert next(found).name == "b.png"
    os.close(sink)
    assert list(found) == []
    os.close(source)


@pytest.mark.parametrize(
    ("name", "where"), [("-", "of standard input"), ("names.txt", "names.txt")]
)
def test_a_list_without_a_line_is_told_of_and_one_with_the_first_is_not(name, where, monkeypatch):
    told = queue.SimpleQueue()
    monkeypatch.setattr(waits, "_PATIENCE", 0)
    monkeypatch.setattr(waits, "_tell", told.put)
    source, sink = os.pipe()

    def write():
        text = told.get(timeout=20)
        os.write(sink, b"a.png\n")
        assert text == f"the list {where} has given no name yet; waiting for it"
        written.set()

    written = threading.Event()
    threading.Thread(target=write, daemon=True).start()
    found = lines.read(source, name=name)
    assert next(found).name == "a.png"
    assert written.wait(20)
    os.write(sink, b"b.png\n")
    assert next(found).name == "b.png"
    os.close(sink)
    assert list(found) == []
    os.close(source)
    assert told.empty()


def test_the_mark_of_utf_8_is_no_part_of_the_first_name():
    assert [one.name for one in read(b"\xef\xbb\xbfa.png\n\xef\xbb\xbfb.png\n")] == [
        "a.png",
        "\ufeffb.png",
    ]

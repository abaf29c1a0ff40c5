"""The page of a scan: what is in the file, its bounds, and how it behaves in Chromium."""

from __future__ import annotations

import base64
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest
from helpers import ENVIRONMENT
from helpers.accessibility import check_accessible
from PIL import Image

import patchsim
from patchsim.pictures import reduced, windowed
from patchsim.scanning import page as pages


@pytest.fixture
def kernels(rng):
    return [rng.integers(0, 256, (9, 11, 3), np.uint8) for _ in range(2)]


@pytest.fixture
def folder(tmp_path, rng, kernels, monkeypatch):
    """Eight pictures: shot-0 has no kernel, shot-N has the first N times with N-fold noise."""
    monkeypatch.chdir(tmp_path)
    for number, kernel in enumerate(kernels):
        Image.fromarray(kernel).save(f"kernel-{number}.png")
    (tmp_path / "shots").mkdir()
    for number in range(8):
        image = np.full((60, 130, 3), 90, np.uint8)
        for copy in range(number):
            noise = rng.integers(0, 1 + 3 * number, kernels[0].shape)
            part = np.clip(kernels[copy % 2] + noise, 0, 255)
            image[20:29, 5 + 15 * copy : 16 + 15 * copy] = part
        Image.fromarray(image).save(f"shots/shot-{number}.png")
    return tmp_path


WORDS = ("scan", "shots", "-k", "kernel-0.png", "-k", "kernel-1.png", "--threshold", "0.85")


@pytest.fixture
def page(folder, run):
    (folder / "shots" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = run(*WORDS, "--report", "page.html")
    assert code == 0
    assert re.search(r"report page\.html: 8 pictures, \d+\.\d kB\n", err)
    return folder / "page.html"


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


def test_what_the_file_holds(page):
    text = page.read_text(encoding="utf-8")
    assert "<title>7 of 9 pictures with a match</title>" in text
    assert "patchsim scan shots -k kernel-0.png" in text
    assert "Metric sad, stride 1,1, colours auto. Kernels: kernel-0.png (11 x 9)" in text
    assert "1 picture could not be searched" in text
    assert "shots/torn.png is a PNG that is damaged" in text
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)', text) == []
    assert " style=" not in text
    found = data_of(page)
    scores = [one["score"] for one in found]
    assert scores[:7] == sorted(scores[:7], reverse=True)
    assert found[-1]["name"] == "shots/shot-0.png"
    assert found[-1]["score"] is None
    assert found[-1]["kernels"] == {}
    counts = {one["name"]: one["count"] for one in found}
    assert counts == {f"shots/shot-{n}.png": n for n in range(8)}


def test_boxes_are_those_of_the_matches(folder, kernels):
    results = list(
        patchsim.scan(
            [str(folder / "shots" / "shot-3.png")], kernels, threshold=0.85, report="page.html"
        )
    )
    text = (folder / "page.html").read_text(encoding="utf-8")
    lines = re.findall(r'class="line" points="([^"]*)"', text)
    boxes = {
        f"{m.x},{m.y} {m.x + 11},{m.y} {m.x + 11},{m.y + 9} {m.x},{m.y + 9}"
        for m in results[0].matches
    }
    assert len(boxes) == 3
    assert set(lines) == boxes


def test_a_page_is_bounded_and_has_the_best(monkeypatch, kernels, rng, tmp_path):
    monkeypatch.setattr(pages, "MOST", 5)
    images = []
    for number in range(40):
        image = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        spoilt = kernels[0].astype(int) + (number * 7 % 40)
        image[5:14, 6:17] = np.clip(spoilt, 0, 255)
        images.append(image)
    told = []

    class Listener(patchsim.Observer):
        def wrote(self, text):
            told.append(text)

    path = tmp_path / "page.html"
    found = patchsim.scan(images, kernels[0], top=1, report=path, observer=Listener())
    results = list(found)
    best = sorted(results, key=lambda one: -one.matches[0].score)[:5]
    assert [one["name"] for one in data_of(path)] == [one.image for one in best]
    text = path.read_text(encoding="utf-8")
    assert "35 more pictures were searched" in text
    assert text.count("data:image/jpeg") == 5
    assert len(told) == 1


def test_a_scan_that_ends_early_has_a_page_of_what_was_seen(folder):
    found = patchsim.scan("shots", "kernel-0.png", report="page.html")
    found.close()
    assert not (folder / "page.html").exists()  # nothing was seen
    found = patchsim.scan("shots", "kernel-0.png", report="page.html")
    next(found)
    next(found)
    assert not (folder / "page.html").exists()
    found.close()
    assert {one["name"] for one in data_of(folder / "page.html")} == {
        "shots/shot-0.png",
        "shots/shot-1.png",
    }
    assert "was ended before its last picture" in (folder / "page.html").read_text("utf-8")


def test_a_fault_leaves_a_page_of_what_was_seen(folder):
    def pictures():
        yield "shots/shot-3.png"
        raise OSError("the list is gone")

    with pytest.raises(OSError, match="the list is gone"):
        list(patchsim.scan(pictures(), "kernel-0.png", report="page.html"))
    assert [one["name"] for one in data_of(folder / "page.html")] == ["shots/shot-3.png"]


def test_an_error_is_raised_though_the_page_cannot_be_written(folder):
    def pictures():
        yield "shots/shot-3.png"
        (folder / "pages").rmdir()
        raise KeyboardInterrupt

    (folder / "pages").mkdir()
    with pytest.raises(KeyboardInterrupt) as caught:
        list(patchsim.scan(pictures(), "kernel-0.png", report="pages/page.html"))
    assert "cannot write pages/page.html: " in caught.value.__notes__[0]
    (folder / "pages").mkdir()
    found = patchsim.scan(["shots/shot-3.png"], "kernel-0.png", report="pages/page.html")
    next(found)
    (folder / "pages").rmdir()
    with pytest.raises(patchsim.OutputError, match="cannot write pages/page"):
        found.close()


ENDLESS = ("scan", "-", "-k", "kernel-0.png", "--format", "jsonl", "--report", "page.html")


@pytest.fixture
def endless(folder):
    """A scan of a list that does not end, of which three pictures were answered."""
    scan = subprocess.Popen(
        [sys.executable, "-m", "patchsim", *ENDLESS],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    for number in range(3):
        scan.stdin.write(f"shots/shot-{number}.png\n".encode())
    scan.stdin.flush()
    for _ in range(3):
        assert scan.stdout.readline()
    yield scan
    scan.kill()
    scan.communicate()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_a_page_of_what_was_seen(name, endless, folder):
    number = getattr(signal, name)
    endless.send_signal(number)
    _, err = endless.communicate(timeout=60)
    assert endless.returncode == 128 + number
    first, second = err.splitlines()[-2:]
    assert first == b"patchsim: page.html is being written; Ctrl-C again ends without it"
    assert b"report page.html: 3 pictures, those until the scan was ended, " in second
    assert len(data_of(folder / "page.html")) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_a_signal_decides_the_exit_code_though_the_page_cannot_be_written(endless, folder):
    (folder / "page.html").mkdir()
    endless.send_signal(signal.SIGINT)
    _, err = endless.communicate(timeout=60)
    assert endless.returncode == 130
    assert err.splitlines()[-1].startswith(b"patchsim: cannot write page.html: ")


def test_a_reader_that_has_enough_leaves_a_page_of_what_was_seen(endless, folder):
    endless.stdout.close()
    endless.stdin.write(b"shots/shot-3.png\n")
    endless.stdin.flush()
    assert endless.wait(timeout=60) == 0
    assert len(data_of(folder / "page.html")) == 4


def test_a_frame_has_a_thumbnail(folder, kernels):
    pages_of_file = [np.full((40, 50, 3), 80 * number, np.uint8) for number in range(3)]
    pages_of_file[2][5:14, 6:17] = kernels[0]
    pictures = [Image.fromarray(one) for one in pages_of_file]
    pictures[0].save("pages.tif", save_all=True, append_images=pictures[1:])
    for frame in (2, "all"):
        list(patchsim.scan("pages.tif", "kernel-0.png", frame=frame, report="page.html"))
        shown = thumbnail(folder / "page.html")
        assert abs(shown - pages_of_file[2].astype(int)).mean() < 20  # of the others over 60
        text = (folder / "page.html").read_text("utf-8")
        assert ", frame 2, 50 x 40" in text
        assert "6,5 17,5 17,14 6,14" in text


def thumbnail(path):
    (data,) = re.findall(r'href="data:image/jpeg;base64,([^"]*)"', path.read_text("utf-8"))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_thumbnails_take_the_memory_of_the_scan(ending, folder, kernels, rng, monkeypatch):
    """A picture that the search reads by windows has a thumbnail that is read so, too."""
    pytest.importorskip("pyvips", reason="libvips is not installed")
    whole = np.asarray(
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((1600, 1200))
    ).copy()
    whole[300:309, 500:511] = kernels[0]
    Image.fromarray(whole).save(f"large.{ending}")
    seen = []
    true_means = reduced._means
    monkeypatch.setattr(reduced, "_means", lambda *words: seen.append(words) or true_means(*words))
    for _ in patchsim.scan(
        f"large.{ending}", "kernel-0.png", memory=6_000_000, threads=1, report="page.html"
    ):
        pass
    ((pixels, side),) = seen
    assert isinstance(pixels, windowed.Windowed) or max(pixels.shape) < 2 * side
    expected = np.asarray(Image.fromarray(whole).resize((240, 180), Image.Resampling.BOX))
    assert abs(thumbnail(folder / "page.html") - expected.astype(int)).mean() < 4


def test_a_card_says_why_it_has_no_picture(folder, monkeypatch):
    def fail(*_words, **_options):
        raise MemoryError

    found = patchsim.scan("shots/shot-1.png", "kernel-0.png", report="page.html")
    next(found)
    with monkeypatch.context() as patched:
        patched.setattr(reduced, "open_reduced", fail)
        assert list(found) == []
    text = (folder / "page.html").read_text("utf-8")
    assert "no picture to show: out of memory" in text


def test_what_is_kept_of_a_scan_has_no_pixels(kernels, tmp_path, rng):
    page = pages.ScanPage(tmp_path / "page.html")
    image = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    seen = weakref.ref(image)
    pictures = [image]
    del image
    results = list(patchsim.scan(pictures, kernels[0]))
    page.add(results.pop())
    pictures.clear()
    gc.collect()
    assert seen() is None
    page.write()
    assert len(data_of(tmp_path / "page.html")) == 1


def test_the_filter_of_kernels_knows_all_matches(tmp_path, kernels):
    """The best 50 matches are drawn; the second kernel's are worse, and in the data."""
    image = np.full((300, 200, 3), 90, np.uint8)
    for number in range(51):
        y, x = 10 * (number // 15), 12 * (number % 15)
        image[y : y + 9, x : x + 11] = kernels[0]
    image[200:209, 50:61] = np.clip(kernels[1].astype(int) + 5, 0, 255)
    path = tmp_path / "page.html"
    for result in patchsim.scan([image], kernels, threshold=0.9, report=path):
        assert len(result.matches) == 52
    (one,) = data_of(path)
    assert one["kernels"].keys() == {"0", "1"}
    assert one["kernels"]["0"] == 1
    assert 0.9 < one["kernels"]["1"] < 1
    text = path.read_text("utf-8")
    assert "52 matches, best 1 (50 drawn)" in text
    assert text.count('class="line"') == 50


@pytest.mark.parametrize(
    ("count", "says"),
    [(1, "1 picture, "), (2, "2 pictures, ")],
)
def test_one_picture_is_no_pictures(count, says, kernels, rng, tmp_path):
    told = []

    class Listener(patchsim.Observer):
        def wrote(self, text):
            told.append(text)

    image = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    path = tmp_path / "page.html"
    list(patchsim.scan([image] * count, kernels[0], report=path, observer=Listener()))
    assert says in told[0]
    text = path.read_text("utf-8")
    assert f"{count} of {count} picture{'s' * (count > 1)} with a match" in text
    assert "0.0" not in told[0]


def test_pictures_that_are_gone_have_no_thumbnail(folder):
    found = patchsim.scan("shots", "kernel-0.png", report="page.html")
    for _ in found:
        (folder / "shots" / "shot-0.png").unlink(missing_ok=True)
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert text.count("no picture to show: shots/shot-0.png does not exist") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--report", "page.pdf"), "end its name in .html"),
        (("--report", "no/page.html"), "does not exist"),
        (("--report", "page.html", "--resume", "r.jsonl"), "leave out --resume"),
        (("--force",), "--force is about the page"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_bad_words(words, says, run):
    code, _, err = run(*WORDS, *words)
    assert code == 2
    assert says in err


def test_names_are_escaped(folder, run):
    hostile = "<img src=x onerror=alert(1)>'\"&\x1b.png"
    (folder / "shots" / "shot-1.png").rename(folder / "shots" / hostile)
    run(*WORDS, "--report", "page.html")
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert text.count("<script") == 2


@pytest.fixture
def opened(chromium, page):
    chromium.set_window_size(1200, 900)
    chromium.get(page.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    loaded = chromium.execute_script(
        "return performance.getEntriesByType('resource').map(one => one.name)"
    )
    assert [name for name in loaded if not name.startswith("data:")] == []


def seen(browser):
    """The names of the cards that are shown, in their order."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#cards li:not(.off) .name')].map(e => e.textContent)"
    )


def put(browser, name, value, event="input"):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event(arguments[2]))",
        name,
        value,
        event,
    )


def status(browser):
    return browser.execute_script("return document.getElementById('shown').textContent")


def test_filters_by_name_kernel_and_score(opened, page):
    names = [one["name"] for one in data_of(page)]
    assert seen(opened) == names
    assert status(opened) == "8 of 8 pictures"
    put(opened, "name", "SHOT-3")
    assert seen(opened) == ["shots/shot-3.png"]
    put(opened, "name", "")
    put(opened, "kernel", "1")  # the second kernel is in pictures of two copies or more
    assert sorted(seen(opened)) == [f"shots/shot-{n}.png" for n in range(2, 8)]
    put(opened, "kernel", "")
    put(opened, "threshold", 1000)
    assert seen(opened) == names[:1]
    assert status(opened) == "1 of 8 pictures"
    put(opened, "threshold", 1)
    assert "shots/shot-0.png" not in seen(opened)
    put(opened, "threshold", 0)
    assert seen(opened) == names


def test_sorting(opened, page):
    by_score = [one["name"] for one in data_of(page)]
    in_order = [f"shots/shot-{n}.png" for n in range(8)]
    for order, expected in (
        ("number", in_order),
        ("count", in_order[::-1]),
        ("name", in_order),
        ("score", by_score),
    ):
        put(opened, "order", order, "change")
        assert seen(opened) == expected


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_light_and_dark_narrow_and_wide(chromium, page, width, scheme):
    check_accessible(chromium, page, width, scheme)

"""The page of a scan: what is in the file, its bounds, and how it behaves in Chromium."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

import patchsim
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
    assert "report page.html: 8 pictures, 0.0 MB" in err
    return folder / "page.html"


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


def test_what_the_file_holds(page):
    text = page.read_text(encoding="utf-8")
    assert "<title>7 of 9 pictures with a match</title>" in text
    assert "patchsim scan shots -k kernel-0.png" in text
    assert "1 picture could not be searched" in text
    assert "shots/torn.png is a PNG that is damaged" in text
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)', text) == []
    assert " style=" not in text
    found = data_of(page)
    scores = [one["score"] for one in found]
    assert scores[:7] == sorted(scores[:7], reverse=True)
    assert found[-1]["name"] == "shots/shot-0.png"
    assert found[-1]["score"] is None
    assert found[-1]["kernels"] == []
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


def test_nothing_is_written_before_the_end(folder):
    found = patchsim.scan("shots", "kernel-0.png", report="page.html")
    next(found)
    assert not (folder / "page.html").exists()
    found.close()
    assert not (folder / "page.html").exists()


def test_pictures_that_are_gone_have_no_thumbnail(folder):
    found = patchsim.scan("shots", "kernel-0.png", report="page.html")
    for _ in found:
        (folder / "shots" / "shot-0.png").unlink(missing_ok=True)
    text = (folder / "page.html").read_text(encoding="utf-8")
    assert text.count("no picture to show") == 1


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
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        chromium.get(page.as_uri())
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
        violations = axe.run(chromium)["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:100]) for each in violations] == []
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

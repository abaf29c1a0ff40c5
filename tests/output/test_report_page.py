"""The report page: what is in the file, and how it behaves in Chromium."""

from __future__ import annotations

import html.parser
import json
import re
import time

import numpy as np
import pytest
import skimage.data
from helpers.accessibility import check_accessible
from PIL import Image

import patchsim
from patchsim.output import labels


class Page(html.parser.HTMLParser):
    """Tags with attributes, and the text of each script and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._inside = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = (tag, dict(attrs).get("id"))

    def handle_data(self, data):
        self.texts[self._inside] = self.texts.get(self._inside, "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    """A page of more than six matches of different scores, with a map."""
    image = skimage.data.coins()
    path = tmp_path_factory.mktemp("coins") / "coins.html"
    report = patchsim.match(
        image, image[37:101, 150:216], metric="zncc", threshold=0.3, map=True, report=path
    )
    assert len(report) > 6
    return path, report


def test_what_the_file_holds(coins):
    path, report = coins
    page = page_of(path)
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
    policy = next(each["content"] for each in page.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert not any("style" in attributes or "onclick" in attributes for _, attributes in page.tags)
    data = json.loads(page.texts["script", "data"])
    assert [row["score"] for row in data["rows"]] == [match.score for match in report]
    assert len([each for each in page.all("g") if each.get("class") == "box"]) == len(report)
    assert len([each for each in page.all("image") if each.get("class") == "heat"]) == 1
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize("has_all", [True, False])
def test_each_part_says_what_it_shows_and_no_more(has_all, tmp_path, rng):
    image = rng.integers(0, 256, (40, 50), np.uint8)
    page = tmp_path / "page.html"
    patchsim.match(image, image[5:15, 5:15], report=page, margin=has_all, map=has_all)
    text = page.read_text("utf-8")
    for says in ("Its margin is by how much", "The heatmap shows", "A bar says how many places"):
        assert (says in text) == has_all
    assert "An empty area has one colour" in text


def test_the_map_lies_over_the_centres_of_windows(tmp_path):
    image = np.zeros((50, 80), np.uint8)
    image[20:30, 40:45] = 200
    path = tmp_path / "page.html"
    patchsim.match(image, image[18:33, 38:48], map=True, stride=(2, 3), report=path)
    (heat,) = [each for each in page_of(path).all("image") if each.get("class") == "heat"]
    # The first window's centre is at (5, 7.5), in the middle of a cell of 3x2 pixels.
    assert (float(heat["x"]), float(heat["y"])) == (3.5, 6.5)
    assert (float(heat["width"]), float(heat["height"])) == (3 * 24, 2 * 18)


def test_names_and_texts_are_escaped(save, tmp_path, run, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    hostile = "</script><img src=x onerror=alert(1)>'\"&\x1b.png"
    save("image.png", image)
    save("kernel.png", image[5:15, 7:17]).rename(tmp_path / hostile.replace("/", "\u2215"))
    name = hostile.replace("/", "\u2215")
    code, _, _ = run("match", "image.png", name, "--report", "page.html", "--no-heatmap")
    assert code == 0
    page = page_of(tmp_path / "page.html")
    assert all(each["src"].startswith("data:") for each in page.all("img"))
    assert len(page.all("script")) == 2
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "patchsim match image.png" in text
    assert "alert(1)" in text
    assert "<img src=x" not in text


def test_poses_have_turned_outlines_and_no_map(tmp_path):
    image = skimage.data.astronaut()[:200, :300]
    part = Image.fromarray(image[60:100, 100:150]).rotate(30, expand=True, fillcolor=(0, 0, 0))
    path = tmp_path / "page.html"
    report = patchsim.match(
        image, np.asarray(part)[12:-12, 14:-14], angles="-40:-20", top=1, report=path
    )
    page = page_of(path)
    (outline, _) = page.all("polygon")
    corners = [tuple(map(float, pair.split(","))) for pair in outline["points"].split()]
    assert corners == list(report[0].corners)
    assert [each for each in page.all("image") if each.get("class") == "heat"] == []
    assert page.all("rect") == []


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_types_and_masks(dtype, tmp_path, rng):
    scale = 65535 if dtype == "uint16" else 1
    image = (rng.random((60, 70, 3)) * scale).astype(dtype)
    mask = np.full((9, 9), 255, np.uint8)
    mask[:3] = 0
    path = tmp_path / "page.html"
    report = patchsim.match(
        image, image[5:14, 5:14], mask=mask, report=path, heatmap=tmp_path / "h.png"
    )
    assert report[0].score == 1
    assert len(page_of(path).all("img")) >= 4


def test_nothing_found_and_many_kernels(tmp_path, rng):
    image = rng.integers(0, 256, (60, 70), np.uint8)
    kernels = [rng.integers(0, 256, (9, 9), np.uint8) for _ in range(9)]
    path = tmp_path / "page.html"
    assert not patchsim.match(image, kernels, threshold=0.99, report=path, map=True)
    page = page_of(path)
    assert "Nothing was found." in path.read_text(encoding="utf-8")
    assert page.all("g")[0]["id"] == "boxes"
    assert len(page.all("li")) == 9
    assert len(page.all("option")) == 6


def test_criteria_are_in_the_table_and_at_the_boxes(tmp_path, rng):
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    kernel = image[10:34, 20:52].copy()
    image[12:20, 24:32] //= 2
    asked = {"worst": 0.1, "pixel_tolerance": 20, "threshold": 0.9}
    report = patchsim.match(image, kernel, report=tmp_path / "page.html", **asked)
    (match,) = report
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f">{labels.text(1, match, ('number',))}</text>" in text
    (row,) = json.loads(Page(text).texts["script", "data"])["rows"]
    assert row["values"][-3:] == [match.worst, match.differing, match.max_difference]
    heads = re.findall(r"<th scope=.*?>([a-z_]+)</button>", text)
    assert heads[-3:] == ["worst", "differing", "max_difference"]
    assert 0.1 < match.worst < 0.9 < match.score


def test_each_plan_has_the_name_of_its_kernel(tmp_path, rng):
    image = rng.integers(0, 256, (40, 50), np.uint8)
    path = tmp_path / "page.html"
    for kernels, named in (
        ([image[:9, :9]], ["Plan: simd"]),
        ([image[:9, :9], image[5:14, :8]], []),
    ):
        patchsim.match(image, kernels, engine="simd", report=path)
        titles = re.findall("<summary>(.*?)</summary>", path.read_text(encoding="utf-8"))
        assert titles == (named or ["Plan for kernel-1: simd", "Plan for kernel-2: simd"])


def test_a_large_picture_is_reduced(tmp_path):
    image = np.tile(skimage.data.astronaut(), (4, 6, 1))
    path = tmp_path / "page.html"
    patchsim.match(image, image[60:100, 100:150], map=True, report=path, top=30)
    assert path.stat().st_size < 1_500_000
    assert "shown reduced" in path.read_text(encoding="utf-8")


def test_bad_paths(run, save, tmp_path, rng):
    save("a.png", rng.integers(0, 256, (30, 30), np.uint8))
    code, _, err = run("match", tmp_path / "a.png", tmp_path / "a.png", "--report", "page.pdf")
    assert code == 2
    assert ".html" in err


@pytest.fixture
def opened(chromium, coins):
    path, report = coins
    chromium.set_window_size(1200, 900)
    chromium.get(path.as_uri())
    yield chromium, report
    assert chromium.get_log("browser") == []
    loaded = chromium.execute_script(
        "return performance.getEntriesByType('resource').map(one => one.name)"
    )
    assert [name for name in loaded if not name.startswith("data:")] == []


def ask(browser, script, *arguments):
    return browser.execute_script(f"return {script}", *arguments)


def slide(browser, name, value):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input'))",
        name,
        value,
    )


def numbers_seen(browser, selector):
    return ask(
        browser,
        f"[...document.querySelectorAll('{selector}')]"
        ".filter(e => getComputedStyle(e).display !== 'none')"
        ".map(e => +e.dataset.number).sort((a, b) => a - b)",
    )


def test_the_threshold_hides_boxes_and_rows(opened):
    browser, report = opened
    everything = list(range(1, len(report) + 1))
    assert numbers_seen(browser, ".box") == numbers_seen(browser, "tbody tr") == everything
    for value in (0, 400, 1000):
        slide(browser, "threshold", value)
        low, high = 0.3, report[0].score  # from the threshold of the search
        level = low + (high - low) * value / 1000
        expected = [n for n, match in enumerate(report, 1) if match.score >= level - 1e-12]
        assert numbers_seen(browser, ".box") == expected
        assert numbers_seen(browser, "tbody tr") == expected
        told = ask(browser, "document.getElementById('shown').textContent")
        assert told == f"{len(expected)} of {len(report)} matches"
    assert len(expected) == 1


def test_the_map_becomes_visible(opened):
    browser, _ = opened
    opacity = "document.querySelector('.heat').getAttribute('opacity')"
    assert ask(browser, opacity) == "0"
    slide(browser, "opacity", 60)
    assert ask(browser, opacity) == "0.6"


def test_columns_sort(opened):
    browser, report = opened
    column = "[...document.querySelectorAll('tbody tr')].map(e => +e.dataset.number)"
    button = ask(browser, "document.querySelector('th button[data-column=\"0\"]')")  # x
    button.click()
    by_x = [n for _, n in sorted((match.x, n) for n, match in enumerate(report, 1))]
    assert ask(browser, column) == by_x
    button.click()
    downwards = [report[n - 1].x for n in ask(browser, column)]
    assert downwards == sorted(downwards, reverse=True)
    assert ask(browser, "arguments[0].closest('th').getAttribute('aria-sort')", button) == (
        "descending"
    )


def test_rows_and_boxes_light_each_other_up(opened):
    browser, _ = opened
    lit = "[...document.querySelectorAll('.on')].map(e => [e.tagName, +e.dataset.number])"
    browser.execute_script("document.querySelector('tr[data-number=\"3\"] .pick').click()")
    assert sorted(ask(browser, lit)) == [["TR", 3], ["g", 3]]
    pressed = "document.querySelector('tr[data-number=\"3\"] .pick').getAttribute('aria-pressed')"
    assert ask(browser, pressed) == "true"
    browser.execute_script(
        "document.querySelector('.box[data-number=\"5\"]').dispatchEvent("
        "new MouseEvent('click', {bubbles: true}))"
    )
    assert sorted(ask(browser, lit)) == [["TR", 5], ["g", 5]]
    assert ask(browser, pressed) == "false"


def view(browser):
    text = ask(browser, "document.getElementById('view').getAttribute('viewBox')")
    return [float(value) for value in text.split()]


def test_zoom_and_move_by_buttons_keys_wheel_and_drag(opened):
    from selenium.webdriver import ActionChains, Keys

    browser, report = opened
    whole = view(browser)
    assert whole == [0, 0, report.width, report.height]
    picture = ask(browser, "document.getElementById('view')")
    picture.send_keys("+")
    nearer = view(browser)
    assert nearer[2] == pytest.approx(0.8 * whole[2])
    picture.send_keys(Keys.ARROW_RIGHT)
    assert view(browser)[0] == pytest.approx(nearer[0] + nearer[2] / 10)
    picture.send_keys("0")
    assert view(browser) == whole
    ActionChains(browser).move_to_element_with_offset(
        picture, 30, 20
    ).click_and_hold().move_by_offset(40, 10).release().perform()
    moved = view(browser)
    assert moved[0] < 0
    assert moved[2:] == whole[2:]
    assert ask(browser, "document.querySelectorAll('.on').length") == 0
    browser.execute_script(
        "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: -200, clientX: 300,"
        " clientY: 300, bubbles: true, cancelable: true}))",
        picture,
    )
    assert view(browser)[2] < moved[2]
    ask(browser, "document.getElementById('fit').click()")
    assert view(browser) == whole


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_light_and_dark_narrow_and_wide(chromium, coins, width, scheme):
    check_accessible(chromium, coins[0], width, scheme)


def test_hostile_pages_run_nothing(chromium, save, tmp_path, rng):
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    name = "<svg onload=document.title='run'>.png"
    save("kernel.png", image[5:15, 7:17]).rename(tmp_path / name)
    patchsim.match(image, tmp_path / name, report=tmp_path / "page.html")
    chromium.get((tmp_path / "page.html").as_uri())
    time.sleep(0.2)
    assert re.fullmatch(r"5 matches of .*<svg onload=.*", chromium.title)
    assert chromium.get_log("browser") == []

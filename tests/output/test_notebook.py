"""How a report shows itself: in a line, as HTML, as a picture and in axes of Matplotlib."""

from __future__ import annotations

import base64
import gc
import html.parser
import io
import pickle
import re
import weakref

import numpy as np
import pytest
from PIL import Image

import patchsim


class Tags(html.parser.HTMLParser):
    """All tags with their attributes, and whether each that was opened was closed."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open += [tag] if tag != "img" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def searched(rng):
    image = rng.integers(0, 256, (120, 160, 3), np.uint8)
    return image, patchsim.match(image, image[30:50, 70:100], top=3)


def shown(report):
    tags = Tags(report._repr_html_())
    assert tags.open == []
    (source,) = [attributes["src"] for tag, attributes in tags.found if tag == "img"]
    return opened(source)


def opened(source):
    assert source.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def test_a_line(searched):
    _, report = searched
    assert repr(report) == (
        "<patchsim.Report: 3 matches of kernel in image, best score 1 at x 70, y 30>"
    )
    assert repr(report[0]) == "Match(x=70, y=30, width=30, height=20, score=1.0, kernel='kernel')"
    nothing = patchsim.match(np.zeros((9, 9)), np.ones((2, 2)), threshold=0.9)
    assert repr(nothing) == "<patchsim.Report: 0 matches of kernel in image>"


def test_the_preview_has_a_box_around_the_match(searched):
    image, report = searched
    picture = np.asarray(shown(report))
    assert picture.shape == image.shape
    yellow = (picture == (255, 255, 0)).all(2)
    assert yellow[28, 70:100].all() or yellow[28:30, 70:100].any(0).all()
    inside = np.asarray(picture)[35:45, 75:95]
    np.testing.assert_array_equal(inside, image[35:45, 75:95])


def test_a_large_picture_is_reduced(save, tmp_path, rng):
    save("big.png", rng.integers(0, 256, (400, 2000), np.uint8))
    report = patchsim.match(tmp_path / "big.png", np.eye(9, dtype=np.uint8) * 200)
    assert shown(report).size == (900, 180)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_types_are_shown_from_their_lowest_to_their_highest_value(dtype, rng):
    image = (rng.random((60, 70)) * (4000 if dtype == "uint16" else 0.1)).astype(dtype)
    picture = np.asarray(shown(patchsim.match(image, image[5:9, 5:9], top=1)))[20:, 20:, 0]
    assert (picture.min(), picture.max()) >= (0, 250)


def test_more_matches_than_the_table_shows(rng):
    image = rng.integers(0, 256, (90, 90), np.uint8)
    report = patchsim.match(image, image[:4, :4], top=25)
    text = report._repr_html_()
    assert len(re.findall("<tr>", text)) == 11
    assert "and 15 more" in text


def test_hostile_names_are_escaped(save, tmp_path, rng):
    name = "<img src=x onerror=alert(1)>&\x1b[31m.png"
    image = rng.integers(0, 256, (20, 30), np.uint8)
    (tmp_path / "k.png").write_bytes(save("k.png", image[:5, :6]).read_bytes())
    (tmp_path / "k.png").rename(tmp_path / name.replace("/", "_"))
    report = patchsim.match(image, tmp_path / name)
    matcher = patchsim.Matcher(tmp_path / name)
    for displayed, count in ((report, 1), (matcher, 1), (report[0], 0)):
        text = displayed._repr_html_()
        tags = Tags(text)
        assert [tag for tag, _ in tags.found].count("img") == count
        assert tags.open == []
        assert "onerror" in text
        assert "\x1b" not in text


def test_a_match_is_a_small_table(searched):
    text = searched[1][0]._repr_html_()
    assert re.findall("<th>(.*?)</th>", text) == ["x", "y", "width", "height", "score", "kernel"]
    assert re.findall("<td>(.*?)</td>", text) == ["70", "30", "30", "20", "1", "kernel"]


def test_a_matcher_shows_its_kernels(rng):
    kernels = [rng.integers(0, 256, (8, 6, 3), np.uint8), np.eye(12) * 300.0]
    kernels += [kernels[0]] * 10
    matcher = patchsim.Matcher(kernels, threshold=0.75, data_range=(0, 300))
    text = matcher._repr_html_()
    assert "threshold=0.75" in text
    assert "and 2 more" in text
    sources = [told["src"] for tag, told in Tags(text).found if tag == "img"]
    assert len(sources) == 10
    first, second = (opened(source) for source in sources[:2])
    np.testing.assert_array_equal(np.asarray(first)[::12, ::12], kernels[0])
    assert np.unique(np.asarray(second)).tolist() == [0, 255]


def test_what_a_matcher_does_not_compare_is_transparent(save):
    rgba = np.full((50, 50, 4), 255, np.uint8)
    rgba[:, 25:, 3] = 0
    text = patchsim.Matcher(save("k.png", rgba))._repr_html_()
    (source,) = [told["src"] for tag, told in Tags(text).found if tag == "img"]
    assert np.asarray(opened(source))[0, :, 3].tolist() == [255] * 25 + [0] * 25


def test_a_notebook_that_wants_a_png_gets_the_same_picture_drawn_once(searched, monkeypatch):
    _, report = searched
    drawn = []
    preview = type(report.display).preview
    monkeypatch.setattr(
        type(report.display), "preview", lambda *given: drawn.append(1) or preview(*given)
    )
    picture = shown(report)
    np.testing.assert_array_equal(picture, Image.open(io.BytesIO(report._repr_png_())))
    assert drawn == [1]
    assert pickle.loads(pickle.dumps(report))._repr_png_() is None


def test_an_image_that_is_gone(searched, save):
    image, report = searched
    again = pickle.loads(pickle.dumps(report))
    assert again == report
    assert again.display.source is None
    assert "is not there any more" in again._repr_html_()
    assert "<table>" in again._repr_html_()
    with pytest.raises(patchsim.InputError, match="image is not there any more"):
        again.show()
    path = save("gone.png", image)
    report = patchsim.match(path, image[:9, :9])
    path.unlink()
    assert "gone.png" in report._repr_html_()
    assert "<img" not in report._repr_html_()


def test_show_opens_the_preview(searched, monkeypatch):
    _, report = searched
    opened = []
    monkeypatch.setattr(Image.Image, "show", lambda self, title: opened.append((self.size, title)))
    report.show()
    assert opened == [((160, 120), "image")]


def test_plot():
    matplotlib = pytest.importorskip("matplotlib", reason="Matplotlib is not required")
    matplotlib.use("Agg")
    image = np.zeros((60, 80), np.uint8)
    image[20:30, 40:45] = 200
    report = patchsim.match(image, image[18:33, 38:48], top=1, scales=[1, 2])
    axes = report.plot()
    (outline,) = axes.patches
    np.testing.assert_allclose(outline.get_xy()[:4], report[0].corners)
    assert axes.get_images()[0].get_extent() == [0, 80, 60, 0]
    canvas = axes.figure.canvas
    canvas.draw()
    colors = {
        tuple(pixel) for pixel in np.asarray(canvas.buffer_rgba())[40:-40, ::2, :3].reshape(-1, 3)
    }
    assert (255, 255, 0) in colors
    (halo,) = outline.get_path_effects()
    assert halo._gc["foreground"] == "black"
    assert report.plot(axes) is axes
    axes.figure.savefig(io.BytesIO())


def test_plot_without_matplotlib(searched, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(patchsim.InputError, match="pip install matplotlib"):
        searched[1].plot()


def test_a_report_that_was_shown_is_freed_with_its_last_reference(searched):
    image, _ = searched
    gc.disable()
    try:
        report = patchsim.match(image, image[30:50, 70:100])
        assert shown(report).size == (160, 120)
        is_there = weakref.ref(report)
        del report
        assert is_there() is None
    finally:
        gc.enable()

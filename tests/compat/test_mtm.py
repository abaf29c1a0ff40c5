"""matchTemplates, findMatches and NMS against Multi-Template-Matching's."""

from __future__ import annotations

import math

import MTM as peer
import numpy as np
import pytest
import skimage.data

from patchsim.compat import mtm, opencv
from patchsim.errors import InputError


@pytest.fixture
def coins():
    return skimage.data.coins()


@pytest.fixture
def templates(coins):
    small = coins[269:322, 333:386].copy()
    small[::5, ::3] ^= 16  # no tie with the other, which is found as it is
    return [("large", coins[37:101, 150:216].copy()), ("small", small)]


def listed(hits):
    return [(label, tuple(map(int, box)), round(float(score), 4)) for label, box, score in hits]


@pytest.mark.parametrize("method", [1, 3, 5])
@pytest.mark.parametrize("most", [1, 4, math.inf])
@pytest.mark.parametrize("box", [None, (100, 20, 280, 280)])
def test_hits_are_those_of_the_original(coins, templates, method, most, box):
    threshold = {1: 0.2, 3: 0.9, 5: 0.4}[method]
    listed_templates = templates[:1] if box else templates
    options = {
        "method": method,
        "N_object": most,
        "score_threshold": threshold,
        "maxOverlap": 0.3,
        "searchBox": box,
    }
    found = mtm.matchTemplates(listed_templates, coins, **options)
    truth = peer.matchTemplates(listed_templates, coins, **options)
    assert [hit[:2] for hit in listed(found)] == [hit[:2] for hit in listed(truth)]
    np.testing.assert_allclose([hit[2] for hit in found], [hit[2] for hit in truth], atol=1e-3)
    assert found


def test_colour_and_masks():
    picture = skimage.data.astronaut()[:200, :300]
    template = picture[60:90, 100:140].copy()
    mask = np.zeros_like(template)
    mask[5:25, 8:33] = 255
    given = [("face", template, mask)]
    options = {"method": opencv.TM_CCORR_NORMED, "score_threshold": 0.95}
    found = mtm.matchTemplates(given, picture, **options)
    assert listed(found)[0] == ("face", (100, 60, 40, 30), 1.0)
    assert listed(found) == listed(peer.matchTemplates(given, picture, **options))


def test_sixteen_bits_are_compared_as_floats(coins, templates):
    wide = [(label, part.astype(np.uint16) * 257) for label, part in templates]
    found = mtm.matchTemplates(wide, coins.astype(np.uint16) * 257, N_object=3)
    truth = mtm.matchTemplates(templates, coins, N_object=3)
    assert [hit[:2] for hit in found] == [hit[:2] for hit in truth]


def test_templates_as_large_as_the_image(coins):
    for part in (coins, coins[:, 5:200], coins[9:90]):
        hits = mtm.matchTemplates([("all", part)], coins, score_threshold=0.9)
        assert hits[0][2] == pytest.approx(1)
        assert len(hits) == 1


def test_neighbours_that_score_the_same():
    image = np.zeros((20, 30), np.uint8)
    image[8:12, 10:18] = 200
    found = mtm.findMatches([("bar", image[8:10, 9:11])], image, score_threshold=0.99)
    assert {box[:2] for _, box, _ in found} == {(9, 8)}


def test_suppression():
    boxes = [(780, 350, 700, 480), (806, 416, 716, 442), (1074, 530, 680, 390), (5, 5, 9, 9)]
    hits = [
        (str(i), box, score)
        for i, (box, score) in enumerate(zip(boxes, (0.8, 0.6, 0.4, 0.9), strict=True))
    ]
    for overlap in (0.1, 0.3, 0.5, 0.9):
        for most in (1, 2, math.inf):
            ours = mtm.NMS(hits, 0.3, False, most, overlap)
            assert ours == list(peer.NMS(hits, 0.3, False, most, overlap))
    assert mtm.NMS(hits, 0.7, True, math.inf, 0.1)[0] == hits[2]
    assert mtm.NMS(hits[:1], 0.9) == hits[:1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"maxOverlap": 1.5}, "maxOverlap is 1.5"),
        ({"method": 0}, "give TM_SQDIFF_NORMED"),
        ({"listTemplates": [np.zeros((2, 2))]}, "listTemplates has ndarray at 0"),
        (
            {"listTemplates": [("a", np.zeros((99, 2), np.uint8))]},
            r"template 'a' \[99, 2\] is larger",
        ),
        ({"image": np.zeros((9, 9))}, "of float64"),
    ],
)
def test_bad_arguments(changes, words):
    given = {
        "listTemplates": [("a", np.eye(3, dtype=np.uint8))],
        "image": np.zeros((9, 9), np.uint8),
    }
    with pytest.raises(InputError, match=words):
        mtm.matchTemplates(**{**given, **changes})
    with pytest.raises(TypeError, match="N_object"):
        mtm.findMatches(given["listTemplates"], given["image"], N_object=2.5)

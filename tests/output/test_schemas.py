"""What is printed as JSON is what the schemas in docs/ say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from PIL import Image
from referencing import Registry, Resource

SCHEMAS = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(__file__).parents[2] / "docs" / "schemas").glob("*.json")
}
REGISTRY = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)


def check(name, value):
    Draft202012Validator(SCHEMAS[f"{name}.schema.json"], registry=REGISTRY).validate(value)


@pytest.fixture
def pictures(tmp_path, monkeypatch, astronaut):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut[:200, :300]).save("big.png")
    Image.fromarray(astronaut[50:74, 80:110]).save("small.png")
    Image.fromarray(astronaut[100:120, 20:40]).save("other.png")
    frames = [Image.fromarray(astronaut[i : i + 60, 80:160]) for i in (40, 45)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])


OPTIONS = {
    "plain": "small.png",
    "outputs": "small.png --heatmap h.png --map m.npy --force",
    "several": "small.png other.png --threshold 0.9 --margin --subpixel",
    "found nothing": "other.png --region 100,0,120,90 --threshold 0.99",
    "poses": "small.png --scales 0.9:1.1 --angles -5:5 --flips h --metric zncc --threshold 0.5",
    "x and y apart": "small.png --scales 1.25x1,1 --threshold 0.5",
    "criteria": "small.png --region 60,35,100,70 --worst 0.5 --pixel-tolerance 9"
    " --max-differing 99 --invert",
    "auto": "small.png --threshold auto",
    "a kernel that is too large": "small.png big.png --region 0,0,200,150",
    "all columns": "small.png --columns x,y,x1,y1,x4,y4,scale_x,scale_y,corners,image,click_x",
}


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("words", OPTIONS.values(), ids=list(OPTIONS))
def test_match(run, words):
    _, out, err = run("match", "big.png", *words.split(), "--format", "json")
    assert out, err
    check("match", json.loads(out))


@pytest.mark.usefixtures("pictures")
def test_match_of_frames(run):
    _, out, _ = run("match", "moving.gif", "small.png", "--frame", "all", "--format", "json")
    document = json.loads(out)
    assert len(document["frames"]) == 2
    check("match", document)


@pytest.mark.usefixtures("pictures")
def test_lines_of_match(run):
    _, out, _ = run("match", "big.png", "small.png", "--format", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines
    for line in lines:
        check("match", {**DOCUMENT, "matches": [line]})


@pytest.mark.usefixtures("pictures")
def test_scan(run):
    words = ("scan", "big.png", "nothing.png", "--kernel", "small.png", "--threshold", "0.9")
    _, out, _ = run(*words, "--format", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert ["error" in line for line in lines] == [False, True]
    for line in lines:
        check("scan", line)


def test_a_level_is_told(run, tmp_path, astronaut):
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        for level, part in enumerate([astronaut, astronaut[::2, ::2], astronaut[::4, ::4]]):
            more = {"subfiletype": 1} if level else {"subifds": 2}
            file.write(part, tile=(64, 64), photometric="rgb", **more)
    Image.fromarray(astronaut[::2, ::2][40:70, 60:90]).save(tmp_path / "part.png")
    for level in (0, 1):
        more = ("--level", str(level), "--top", "1", "--format")
        document = json.loads(run("match", "pyramid.tif", "part.png", *more, "json")[1])
        check("match", document)
        line = json.loads(run("scan", "pyramid.tif", "-k", "part.png", *more, "jsonl")[1])
        check("scan", line)
        assert document.get("level") == line.get("level") == (level or None)
        assert document["width"] == line["width"] == 512 >> level


@pytest.mark.parametrize("words", ["", "--reduction none", "--loss contrastive --f-key f --key f"])
def test_loss(run, tmp_path, monkeypatch, rng, words):
    monkeypatch.chdir(tmp_path)
    f, p = rng.normal(size=(2, 4, 3, 5)).astype(np.float32)
    np.savez("features.npz", f=f, p=p)
    words = words.replace("--f-key f ", "")
    _, out, err = run("loss", "features.npz", *words.split(), "--format", "json")
    assert out, err
    check("loss", json.loads(out))


def test_doctor(run):
    check("doctor", json.loads(run("doctor", "--json")[1]))


# What the schema of `match` asks for.
DOCUMENT = {
    "image": "big.png", "width": 9, "height": 9, "metric": "sad", "stride": [1, 1],
    "device": "cpu", "engine": "simd", "tolerance": 0.0, "heatmap": None, "map": None,
    "kernels": [], "matches": [], "seconds": 0.1, "color": "auto", "region": None,
    "padding": "valid", "threshold": None,
}  # fmt: skip


@pytest.mark.parametrize("change", [{"score": 1}, {"metric": "cosine"}, {"stride": [0, 1]}])
def test_the_schema_refuses_what_is_not_so(change):
    check("match", DOCUMENT)
    with pytest.raises(ValidationError):
        check("match", DOCUMENT | change)

"""A scan on the workers of a cluster prints what a scan in one process prints."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from helpers import ENVIRONMENT
from helpers.bands import InTurn
from helpers.clusters import Ends
from PIL import Image

import patchsim
from patchsim.cluster import on_worker, pictures
from patchsim.errors import InputError, MachineError
from patchsim.scanning.one_picture import Told, search
from patchsim.scanning.records import ScanRecords
from patchsim.scanning.requests import Request

pytest.importorskip("distributed")


@pytest.fixture
def folder(tmp_path, rng, kernel):
    """Twelve pictures, of which one is damaged."""
    made = tmp_path / "scans"
    made.mkdir()
    for number in range(12):
        shown = rng.integers(0, 256, (60 + number, 80, 3), np.uint8)
        shown[5 + number : 36 + number, 3:30] = kernel
        Image.fromarray(shown).save(made / f"{number:02}.png")
    (made / "04.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    return made


def objects(results):
    return list(ScanRecords(list(results)).objects())


def test_results_are_those_of_one_process_in_order(cluster, folder, kernel, monkeypatch):
    monkeypatch.chdir(folder.parent)  # which is not the workers' folder
    asked = [
        "scans",
        {"image": "scans/03.png", "region": [0, 0, 50, 50]},
        np.asarray(Image.open(folder / "07.png")),
        "scans/none.png",
    ]
    told = [[], []]

    class Watcher(patchsim.Observer):
        def __init__(self, texts):
            self.notice = texts.append

    spread = list(patchsim.scan(asked, kernel, top=2, cluster=cluster, observer=Watcher(told[0])))
    alone = list(patchsim.scan(asked, kernel, top=2, observer=Watcher(told[1])))
    assert objects(spread) == objects(alone)
    assert [one.matches for one in spread] == [one.matches for one in alone]
    assert [type(one.error) for one in spread] == [type(one.error) for one in alone]
    assert told[0] == told[1]
    assert len(spread) == 15
    shown = spread[0].report
    assert shown.image == "scans/00.png"
    assert shown.display.thumbnail(shown, 20).size == (20, 15)


def test_the_command_prints_the_same_lines_and_goes_on(run, scheduler, folder, kernel, save):
    save("kernel.png", kernel)
    words = ("scan", "scans", "-k", "kernel.png", "--top", "2")
    assert run(*words, "--cluster", "local:2") == run(*words)
    code = run(*words, "--resume", "spread.jsonl", "--cluster", scheduler)[0]
    (folder / "99.png").write_bytes((folder / "01.png").read_bytes())
    again = run(*words, "--resume", "spread.jsonl", "--cluster", scheduler)
    assert (code, again[0]) == (0, 0)
    assert "12 results were there, 1 were added" in again[2]
    run(*words, "--resume", "alone.jsonl")
    spread, alone = (
        [json.loads(line) for line in (folder.parent / name).read_text().splitlines()]
        for name in ("spread.jsonl", "alone.jsonl")
    )
    assert spread == alone


def test_a_picture_is_answered_before_the_next_one_is_there(cluster, folder, kernel):
    answered = threading.Event()

    def asked():
        yield str(folder / "00.png")
        assert answered.wait(30)
        yield str(folder / "01.png")

    results = patchsim.scan(asked(), kernel, cluster=cluster)
    assert next(results).matches
    answered.set()
    assert len(list(results)) == 1


def test_an_error_of_the_list_ends_the_scan(cluster, folder, kernel):
    def asked():
        yield str(folder / "00.png")
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        list(patchsim.scan(asked(), kernel, cluster=cluster))


def test_a_scan_that_is_left_early_ends_its_tasks(cluster, folder, kernel):
    results = patchsim.scan([str(folder / "00.png")] * 100, kernel, cluster=cluster)
    next(results)
    results.close()
    assert len(list(patchsim.scan([str(folder / "00.png")] * 3, kernel, cluster=cluster))) == 3


def scanned(end, count, kernel):
    requests = [Request(f"{number}.png", kernel) for number in range(count)]
    told = Told(lambda _text: None, lambda _plan, _kernels: None, lambda _text: None)
    ends = Ends(end)
    matcher = patchsim.Matcher(kernel)
    return list(pictures.searched(ends, matcher, requests, memory=None, told=told)), ends


def answered(batch):
    matcher = patchsim.Matcher(batch.requests[0].source)
    results = [
        search(matcher, one, patchsim.Observer(), threads=1, memory=1 << 28)
        for one in batch.requests
    ]
    value = pictures.Answer(results, [[] for _ in results], 1e-3)
    return "done", pickle.dumps(on_worker.Done(value))


def test_a_picture_that_kills_its_workers_is_an_error_and_the_others_are_searched(kernel):
    def end(batch, _):
        names = [one.name for one in batch.requests]
        return ("died", "the workers died") if "33.png" in names else answered(batch)

    results, ends = scanned(end, 60, kernel)
    assert [one.image for one in results] == [f"{number}.png" for number in range(60)]
    failed = [one for one in results if one.error is not None]
    assert [(one.image, str(one.error)) for one in failed] == [
        ("33.png", "33.png: the workers died")
    ]
    assert isinstance(failed[0].error, MachineError)
    assert max(len(batch.requests) for batch, _, _ in ends.sent) > 4  # it was one of a batch


def test_batches_grow_with_quick_pictures_and_shrink_with_slow_ones(kernel):
    source = pictures._Requests([Request("a", kernel)] * 5, Ends(None))
    source.took(1, 0.001)
    assert source._size == 2
    for _ in range(20):
        source.took(10, 0.001)
    assert source._size == pictures._MOST
    source.took(10, 60.0)
    assert source._size == 1
    source.close()


def test_a_match_with_a_part_that_was_not_scored_ends_with_a_code_of_its_own(
    run, picture, kernel, save, monkeypatch
):
    save("kernel.png", kernel)

    class Stand(InTurn):
        def __init__(self, address, observer):  # noqa: ARG002
            super().__init__(lost={0})

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("patchsim.cluster.client.Cluster", Stand)
    words = ("match", picture.name, "kernel.png", "--threshold", "0.99", "--cluster", "local:2")
    code, out, err = run(*words, "--format", "json")
    assert code == 3
    assert len(json.loads(out)["missing"]) == 1
    assert "windows inside 0," in err
    code, _, err = run(*words, "--quiet")
    assert (code, err) == (3, "patchsim: 1 parts of the image were not scored\n")
    assert not (picture.parent / "scene.heatmap.png").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--heatmap", "h.png"), "map, resume, heatmap and blend need"),
        (("--wait", "1", "--threshold", "0.9"), "--wait looks at a picture of this machine"),
        (("--metric", "none"), "metric"),
    ],
)
def test_a_command_that_cannot_be_spread_starts_no_worker(
    run, picture, kernel, save, monkeypatch, words, text
):
    save("kernel.png", kernel)
    monkeypatch.setattr(
        "patchsim.cluster.client.Link", lambda *_: pytest.fail("workers were started")
    )
    code, _, err = run("match", picture.name, "kernel.png", "--cluster", "local:2", *words)
    assert code == 2
    assert text in err


@pytest.mark.parametrize("name", ["distributed", "distributed.client", "tornado.application"])
def test_what_dask_logs_is_none_of_the_lines_of_a_command(name):
    code = (
        "import logging, patchsim; from patchsim.cli import clusters\n"
        "with clusters.opened('tcp://127.0.0.1:1', patchsim.Observer()):\n"
        f"    logging.getLogger({name!r}).critical('it failed to connect again')\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=ENVIRONMENT, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b""


def test_standard_input_is_refused(kernel):
    with pytest.raises(InputError, match="the image is standard input, but"):
        patchsim.match("-", kernel, cluster=InTurn())


def pictures_of(rng, kernel, xs):
    """Pictures whose matches are at these columns, which tell one picture from another."""
    for x in xs:
        shown = rng.integers(0, 256, (60, 130, 3), np.uint8)
        shown[11:42, x : x + 27] = kernel
        yield shown


def columns(results):
    return [result.matches[0].x for result in results]


@pytest.mark.parametrize("is_shared", [True, False])
def test_scans_at_a_time_do_not_take_the_results_of_each_other(cluster, rng, kernel, is_shared):
    pictures = [[*pictures_of(rng, kernel, xs)] for xs in (range(20), range(60, 80))]
    address = cluster._connected().client.scheduler.address
    with patchsim.Cluster(address) as other:
        clusters = cluster, (cluster if is_shared else other)
        scans = [
            patchsim.scan(shown, kernel, cluster=one)
            for shown, one in zip(pictures, clusters, strict=True)
        ]
        first, second = zip(*zip(*scans, strict=True), strict=True)
    assert columns(first) == [*range(20)]
    assert columns(second) == [*range(60, 80)]


def test_images_are_searched_while_a_scan_goes_on(cluster, rng, kernel, picture):
    found = []
    for result in patchsim.scan(pictures_of(rng, kernel, range(20)), kernel, cluster=cluster):
        found.append(result)
        report = patchsim.match(picture, kernel, cluster=cluster)
        assert (report.matches[0].x, report.matches[0].y) == (20, 10)
    assert columns(found) == [*range(20)]


def test_an_error_of_the_iterable_comes_behind_the_results_before_it(cluster, rng, kernel):
    def pictures():
        yield from pictures_of(rng, kernel, range(9))
        raise RuntimeError("the list ends here")

    results = patchsim.scan(pictures(), kernel, cluster=cluster)
    assert columns(next(results) for _ in range(9)) == [*range(9)]
    with pytest.raises(RuntimeError, match="the list ends here"):
        next(results)

"""A search on the workers of a Dask cluster has the answer of one process, whatever happens."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import ENVIRONMENT
from helpers.clusters import Ends, has_worker_processes, killing, worker_processes
from PIL import Image

import patchsim
from patchsim.cluster import link, on_worker, submitted, tasks, work
from patchsim.errors import InputError, MachineError
from patchsim.files.stamps import Stamp
from patchsim.pictures import streams

pytest.importorskip("distributed")


def answer(report):
    return [(m.x, m.y, m.score, m.kernel, m.margin) for m in report.matches], report.threshold


@pytest.mark.usefixtures("short_bands")
@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc"])
@pytest.mark.parametrize(
    "options",
    [{"top": 20, "margin": True}, {"threshold": 0.8}, {"threshold": "auto"}],
    ids=str,
)
def test_workers_lead_to_the_answer_of_one_process(cluster, picture, kernel, metric, options):
    kernels = [kernel, kernel[2:29, 3:]]
    spread = patchsim.match(picture, kernels, metric=metric, cluster=cluster, **options)
    assert answer(spread) == answer(patchsim.match(picture, kernels, metric=metric, **options))
    assert spread.missing == ()


@pytest.mark.usefixtures("short_bands")
def test_workers_open_images_of_any_reader(cluster, tmp_path, astronaut, kernel):
    shown = np.tile(astronaut, (2, 1, 1))[:777]
    path = tmp_path / "scene.npy"
    np.save(path, shown)
    report = patchsim.match(path, kernel, top=9, margin=True, max_pixels=1000, cluster=cluster)
    assert answer(report) == answer(patchsim.match(shown, kernel, top=9, margin=True))


def test_a_matcher_uses_a_cluster_for_one_image_after_another(cluster, picture, kernel, coffee):
    other = picture.with_name("other.png")
    Image.fromarray(coffee).save(other)
    matcher = patchsim.Matcher(kernel, top=3)
    for image in (picture, other, picture):
        assert answer(matcher.match(image, cluster=cluster)) == answer(matcher.match(image))


@pytest.mark.usefixtures("short_bands")
def test_killed_workers_change_nothing(large):
    path, kernel = large
    alone = patchsim.match(path, kernel, top=6, margin=True)
    with patchsim.Cluster("local:2") as hurt:
        hurt.connect()
        with killing(hurt, 1, kills=2, pauses=(0.1, 0.6)) as killed:
            while len(killed) < 2:  # a quick machine searches more often meanwhile
                report = patchsim.match(path, kernel, top=6, margin=True, cluster=hurt)
                assert (answer(report), report.missing) == (answer(alone), ())


def test_workers_that_dask_gave_up_are_replaced(picture, kernel, monkeypatch):
    monkeypatch.setattr(link, "LACKING_SECONDS", 0.2)
    monkeypatch.setattr(tasks, "_POLL", 0.1)
    alone = patchsim.match(picture, kernel, top=4)
    with patchsim.Cluster("local:2") as hurt:
        hurt.connect()
        there = hurt._connected()._local
        for nanny in list(there.workers.values()):
            there.sync(nanny.close)
        assert answer(patchsim.match(picture, kernel, top=4, cluster=hurt)) == answer(alone)


@pytest.mark.slow
@pytest.mark.usefixtures("short_bands")
@pytest.mark.parametrize("seed", range(20))
def test_six_kills_change_nothing(tmp_path, rng, seed):
    shown = rng.integers(0, 256, (2200, 2403, 3), np.uint8)
    path = tmp_path / "large.npy"
    np.save(path, shown)
    kernel = shown[100:164, 200:264].copy()
    alone = patchsim.match(shown, kernel, top=6, margin=True)
    with patchsim.Cluster("local:2") as hurt:
        hurt.connect()
        with killing(hurt, seed, kills=6, pauses=(0.1, 0.8)) as killed:
            while len(killed) < 6:  # a quick machine searches more often meanwhile
                report = patchsim.match(path, kernel, top=6, margin=True, cluster=hurt)
                assert (answer(report), report.missing) == (answer(alone), ())


# What follows is done by stand-ins for Dask's futures: each kind of end can be had at will.


class Given:
    def __init__(self, todo):
        self._todo = list(todo)

    def take(self, most):
        taken, self._todo = self._todo[:most], self._todo[most:]
        return taken or None


def finished(value):
    return "done", pickle.dumps(on_worker.Done(value))


def run(end, bands):
    ends = Ends(end)
    done = tasks.Run(ends, on_worker.bands, b"", "key", Given(bands)).results()
    return list(done), ends


BANDS = [work.Band((0,), top, 512) for top in range(0, 5120, 512)]


def test_a_band_that_kills_its_workers_is_narrowed_down_alone_and_the_rest_is_done():
    def end(band, _):
        return ("died", "gone") if band.top <= 1100 < band.top + band.rows else finished(band)

    results, ends = run(end, BANDS)
    lost = [band for band, found in results if isinstance(found, tasks.Failure)]
    assert [(band.top, band.rows) for band in lost] == [(1088, 64)]
    rows = sorted((band.top, band.rows) for band, _ in results)
    assert sum(height for _, height in rows) == 5120
    assert all(top + height == after for (top, height), (after, _) in pairwise(rows))
    again = [size for band, _, size in ends.sent[len(BANDS) :]]
    assert set(again) == {1}


def test_a_healthy_band_that_met_deaths_has_its_result():
    deaths = {2: 1, 5: 2}  # of the bands with these numbers

    def end(band, _):
        number = band.top // 512
        if deaths.get(number, 0) > 0:
            deaths[number] -= 1
            return "died", "gone"
        return finished(band)

    results, _ = run(end, BANDS)
    assert not [found for _, found in results if isinstance(found, tasks.Failure)]
    assert sum(band.rows for band, _ in results) == 5120


def test_an_error_is_tried_once_more_on_another_worker():
    fault = on_worker.Fault("no such tile", "there", "tcp://there:1", is_input=True)

    def end(band, count):
        is_broken = band.top == 1024 or (band.top == 0 and count == 1)
        return ("done", pickle.dumps(fault)) if is_broken else finished(band)

    results, ends = run(end, BANDS)
    failures = {band.top: found for band, found in results if isinstance(found, tasks.Failure)}
    assert failures == {1024: tasks.Failure("no such tile (on there)", is_input=True)}
    assert [one for one in ends.sent if one[1] is not None] == [
        (BANDS[0], "tcp://there:1", 1), (BANDS[2], "tcp://there:1", 1)
    ]  # fmt: skip


def test_a_band_for_which_memory_does_not_suffice_is_halved():
    full = on_worker.Fault("MemoryError: ", "there", "tcp://there:1", is_memory=True)
    results, _ = run(
        lambda band, _: ("done", pickle.dumps(full)) if band.rows > 128 else finished(band),
        BANDS[:1],
    )
    assert sorted((band.top, band.rows) for band, _ in results) == [
        (0, 128), (128, 128), (256, 128), (384, 128)
    ]  # fmt: skip
    assert not [found for _, found in results if isinstance(found, tasks.Failure)]


@pytest.mark.parametrize("around", [nullcontext, streams.naming_errors])
def test_a_worker_tells_that_memory_did_not_suffice(around, monkeypatch):
    there = SimpleNamespace(address="tcp://there:1")
    monkeypatch.setattr("distributed.get_worker", lambda: there)

    def decode():
        with around("a.tif"):
            raise MemoryError

    assert pickle.loads(on_worker.answer(decode)).is_memory


def test_tasks_that_are_lost_on_their_way_are_sent_again():
    def end(band, count):
        return ("lost", None) if count <= 3 else finished(band)

    results, ends = run(end, BANDS)
    assert sorted(band.top for band, _ in results) == [band.top for band in BANDS]
    assert len(ends.sent) == len(BANDS) + 3


def test_a_task_that_is_always_lost_on_its_way_is_narrowed_down_and_given_up():
    def end(band, _):
        return ("lost", None) if band.top <= 1100 < band.top + band.rows else finished(band)

    results, ends = run(end, BANDS)
    lost = {(band.top, band.rows): found for band, found in results if found != band}
    reason = "its result was lost on its way again and again"
    assert lost == {(1088, 64): tasks.Failure(reason, is_input=False)}
    assert sum(band.rows for band, _ in results) == 5120
    assert len(ends.sent) < len(BANDS) + 20


def test_tasks_that_no_worker_has_come_to_an_end(monkeypatch):
    monkeypatch.setattr(tasks, "PATIENCE", 0.05)
    results, _ = run(lambda band, _: ("never",) if band.top == 512 else finished(band), BANDS)
    lost = [band for band, found in results if isinstance(found, tasks.Failure)]
    assert [(band.top, band.rows) for band in lost]
    assert all(512 <= band.top < 1024 for band in lost)
    assert sum(band.rows for band, _ in results) == 5120


def slow_task():
    """A function of tasks that is pickled as it is, so that workers need not import this file."""

    def slow(_constants, _key, task):
        import pickle
        import time

        from patchsim.cluster.on_worker import Done

        time.sleep(pickle.loads(task).rows / 1000)
        return pickle.dumps(Done("late"))

    return slow


def test_a_task_may_take_longer_than_the_patience_while_its_worker_lives(cluster, monkeypatch):
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)
    slow = [work.Band((0,), top, 500) for top in range(6)]  # more than there are workers
    source, there = Given(slow), cluster._connected()
    done = list(tasks.Run(there, slow_task(), b"", "key", source).results())
    assert sorted(done) == [(band, "late") for band in slow]


def test_a_task_that_runs_for_long_is_told_once_with_its_worker(cluster, monkeypatch):
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)
    monkeypatch.setattr(tasks, "LONG_SECONDS", 1.0)
    there, told = cluster._connected(), []
    monkeypatch.setattr(there, "tell", told.append)
    todo = [work.Band((0,), 64, 1900)] + [work.Band((0,), top, 100) for top in range(0, 1280, 64)]
    done = list(tasks.Run(there, slow_task(), b"", "key", Given(todo)).results())
    assert sorted(done) == sorted((band, "late") for band in todo)
    (text,) = told
    start = re.escape("has been at rows 64 to 1963 of the scores since ")
    host = re.match(rf"the worker at (\S+) {start}\d\d:\d\d:\d\d, for more than 1 s", text)
    assert host
    assert f"tcp://{host[1]}" in there._known


def when(is_so, seconds=10):
    """Return the first true value of a function, or its last one."""
    end = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_tasks_that_the_scheduler_or_the_worker_does_not_know_are_lost(cluster, monkeypatch):
    sent = cluster._connected().submitted()
    try:
        names = sent.submit(slow_task(), b"", "key", [pickle.dumps(work.Band((0,), 0, 3000))] * 4)
        asked = [*names, "of none"]
        assert when(lambda: sent.places(asked).keys() == set(names))  # once they are there
        nothing = {address: {} for address in cluster._connected()._known}
        monkeypatch.setattr(sent, "_run", lambda *_: nothing)
        assert when(lambda: sent.places(names).keys() < set(names))
    finally:
        sent.cancel()


@contextlib.contextmanager
def scheduler(*, workers=1):
    """A scheduler in a process of its own; yields the process and the address."""
    code = (
        f"import distributed, time; c = distributed.LocalCluster(n_workers={workers},"
        " threads_per_worker=1, dashboard_address='127.0.0.1:0');"
        " print(c.scheduler_address, flush=True); time.sleep(60)"
    )
    there = subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n {code}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield there, there.stdout.readline().strip()
    finally:
        there.kill()
        there.wait()
        there.stdout.close()


@contextlib.contextmanager
def stopped(process):
    """Stop a process, which answers nothing meanwhile and keeps its connections."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process for a while")
def test_a_scheduler_that_is_busy_for_long_is_waited_for(large, monkeypatch):
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(submitted, "CLOSE_SECONDS", 0.2)  # tasks are cancelled while it is stopped
    path, kernel = large
    told = []

    class Watcher(patchsim.Observer):
        def notice(self, text):
            told.append(text)
            threading.Timer(0.7, there.send_signal, [signal.SIGCONT]).start()  # asked three times

    with scheduler() as (there, address), patchsim.Cluster(address, observer=Watcher()) as opened:
        opened.connect()
        with stopped(there):
            report = patchsim.match(path, kernel, top=3, cluster=opened)
        assert answer(report) == answer(patchsim.match(path, kernel, top=3))
        assert ["is busy; waiting" in text for text in told] == [True]
        monkeypatch.setattr(link, "BUSY_SECONDS", 0.5)
        with stopped(there), pytest.raises(MachineError, match="has not answered for"):
            patchsim.match(path, kernel, cluster=opened)


def test_a_worker_of_another_version_that_joins_is_told_and_gets_no_tasks(cluster, monkeypatch):
    told = []
    with patchsim.Cluster(cluster._connected().client.scheduler.address) as other:
        there = other._connected()
        first, second = sorted(there._known)
        monkeypatch.setattr(there, "tell", told.append)
        there._known.remove(second)
        there.run = lambda *_, workers: dict.fromkeys(workers, "0.0.1")
        there.check(is_waiting=False)
        assert list(there.refused) == [second]
        assert there.threads == 1
        assert [re.sub(r":\d+", "", text) for text in told] == [
            f"the worker at 127.0.0.1 has patchsim 0.0.1, and {patchsim.__version__} is here;"
            " install the same version on all machines; the others go on"
        ]

        def where():
            def address(_constants, _key, _task):
                import pickle

                from distributed import get_worker

                from patchsim.cluster.on_worker import Done

                return pickle.dumps(Done(get_worker().address))

            return address

        done = list(tasks.Run(there, where(), b"", "key", Given(BANDS)).results())
    assert {address for _, address in done} == {first}


def test_a_task_of_another_version_is_no_fault_of_the_task():
    fault = on_worker.Fault("patchsim 0 there", "there", "tcp://there:1", True, False, True)

    def end(band, count):
        return ("done", pickle.dumps(fault)) if count <= 4 else finished(band)

    ends = Ends(end)
    ends.refuse = lambda addresses: ends.refused.update(dict.fromkeys(addresses, ""))
    results = list(tasks.Run(ends, on_worker.bands, b"", "key", Given(BANDS)).results())
    assert not [found for _, found in results if isinstance(found, tasks.Failure)]
    assert list(ends.refused) == ["tcp://there:1"]


def test_a_worker_takes_no_constants_of_another_version(monkeypatch):
    sent = on_worker.constants("a search")
    monkeypatch.setattr(patchsim, "__version__", "0.0.1")
    with pytest.raises(InputError, match=r"patchsim 0\.0\.1 is installed there, and"):
        on_worker.keep("of another version", sent, lambda _: pytest.fail("it was opened"))


def test_a_file_that_changes_ends_the_search(cluster, picture, kernel, monkeypatch):
    changed = work.check

    def change(image, stamp, version):
        os.utime(picture, ns=(5, 5))
        changed(image, stamp, version)

    described = patchsim.Matcher(kernel)
    source = cluster.band_source(
        described, str(picture), region=None, memory=None, observer=patchsim.Observer()
    )
    search = work.opened(source._work, threads=1, memory=1 << 28)
    monkeypatch.setattr(work, "check", change)
    os.utime(picture, ns=(4, 4))
    with pytest.raises(InputError, match="has changed since the search began"):
        list(source.bounds(search.jobs, search.parts))


def test_a_file_that_a_worker_does_not_see_is_refused_with_its_host(
    cluster, picture, kernel, monkeypatch
):
    monkeypatch.setattr(Stamp, "__reduce__", lambda _self: (Stamp, (1, 1)))
    with pytest.raises(InputError, match=r"the worker at 127\.0\.0\.1:\d+: .* has changed"):
        patchsim.match(picture, kernel, cluster=cluster)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("0.0.1", "has patchsim 0.0.1, and"),
        (None, "has no patchsim, and"),
        (ImportError("no torch"), r"does not load \(ImportError: no torch\)"),
    ],
)
def test_workers_of_another_version_are_refused_with_their_hosts(monkeypatch, found, text):
    closed = []

    class Other:
        def __init__(self, *_):
            pass

        def run(self, *_):
            return {"tcp://10.0.0.7:1234": found}

        def close(self):
            closed.append(self)

    monkeypatch.setattr("patchsim.cluster.client.Link", Other)
    with (
        patchsim.Cluster("tcp://10.0.0.1:8786") as opened,
        pytest.raises(InputError, match=f"the worker at 10.0.0.7:1234 .*{text}"),
    ):
        opened.connect()
    assert closed


def test_a_scheduler_that_does_not_answer_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9 within"):
        patchsim.Cluster("tcp://127.0.0.1:9").connect()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9"])
def test_a_client_that_cannot_connect_is_closed_at_once(address, monkeypatch):
    # The garbage collector may run while another client starts, and would wait for its lock.
    from distributed import Client

    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    made, closed = [], []

    class Recorded(Client):
        def __init__(self, *args, **options):
            made.append(self)
            super().__init__(*args, **options)

        def close(self, *args, **options):
            closed.append(self)
            return super().close(*args, **options)

    monkeypatch.setattr("distributed.Client", Recorded)
    with pytest.raises(InputError):
        patchsim.Cluster(address).connect()
    assert closed == made
    assert len(made) == 1
    assert made[0].status in ("closed", "newly-created")


def test_what_is_no_scheduler_of_dask_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr(link, "CONNECT_SECONDS", 2.0)

    def answer_as_a_web_server(server):
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=answer_as_a_web_server, args=(server,), daemon=True).start()
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}.*give the address that dask"):
            patchsim.Cluster(f"tcp://127.0.0.1:{port}").connect()
        server.shutdown(socket.SHUT_RDWR)


def test_a_connection_by_tls_without_certificates_is_told(monkeypatch):
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"tls://127\.0\.0\.1:9 .*(?s:.)*name the certificates"):
        patchsim.Cluster("tls://127.0.0.1:9").connect()


@pytest.mark.parametrize("search", [patchsim.match, lambda *a, **k: list(patchsim.scan(*a, **k))])
def test_the_text_of_an_address_is_no_cluster(picture, kernel, search):
    with pytest.raises(InputError, match=r"'local:1', which is no patchsim\.Cluster; give"):
        search(picture, kernel, cluster="local:1")


def test_without_the_package_its_install_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'patchsim-match\[cluster\]'"):
        patchsim.Cluster("local:2")


@pytest.mark.parametrize(
    "address",
    ["", "here", "local:", "local:0", "local:x", "tcp://host", "local:9999", 3, "http://a:1"],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match=r"local:"):
        patchsim.Cluster(address)


def test_a_cluster_leaves_nothing_in_the_folder_of_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with patchsim.Cluster("local:1") as opened:
        opened.connect()
        (own,) = tmp_path.iterdir()
        assert own.name.startswith(".patchsim-")  # which a later one removes after a kill
    assert not list(tmp_path.iterdir())


def test_workers_of_another_cluster_of_the_process_go_on(cluster):
    running = set(worker_processes(cluster))
    with patchsim.Cluster("local:1") as other:
        other.connect()
        (own,) = worker_processes(other)
    left = {process.pid for process in multiprocessing.active_children()}
    assert running <= left
    assert own not in left


def test_a_closed_cluster_is_refused(picture, kernel):
    opened = patchsim.Cluster("local:2")
    opened.close()
    with pytest.raises(InputError, match="the cluster is closed"):
        patchsim.match(picture, kernel, cluster=opened)


def test_a_scheduler_without_workers_is_waited_for_and_then_an_error(picture, kernel, monkeypatch):
    import distributed

    monkeypatch.setattr(link, "WORKER_SECONDS", 0.4)
    monkeypatch.setattr(tasks, "_POLL", 0.1)
    told = []

    class Watcher(patchsim.Observer):
        def notice(self, text):
            told.append(text)

    with (
        distributed.LocalCluster(
            n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=100
        ) as empty,
        patchsim.Cluster(empty.scheduler_address, observer=Watcher()) as opened,
        pytest.raises(MachineError, match="has had no worker for"),
    ):
        patchsim.match(picture, kernel, cluster=opened)
    assert any("has no workers yet" in text for text in told)


def test_a_scheduler_that_is_lost_is_an_error(large, monkeypatch):
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.5)  # which Dask may spend on connecting again
    monkeypatch.setattr(tasks, "_POLL", 0.1)
    path, kernel = large
    with scheduler() as (there, address), patchsim.Cluster(address) as opened:
        source = opened.band_source(
            patchsim.Matcher(kernel), str(path), region=None, memory=None,
            observer=patchsim.Observer(),
        )  # fmt: skip
        search = work.opened(source._work, threads=1, memory=1 << 28)
        monkeypatch.setattr(work, "_SECONDS", 1e-9)
        monkeypatch.setattr(work, "_LEAST_SECONDS", 1e-9)
        found = source.bounds(search.jobs, search.parts)
        next(found)
        there.send_signal(signal.SIGKILL)
        with pytest.raises(MachineError, match="was lost"):
            list(found)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_ends_quietly_and_leaves_no_process(large, tmp_path):
    import psutil

    path, kernel = large
    np.save(tmp_path / "kernel.npy", kernel)
    before = {one.pid for one in psutil.process_iter()}
    command = subprocess.Popen(
        [sys.executable, "-m", "patchsim", "match", path, tmp_path / "kernel.npy",
         "--cluster", "local:2", "--quiet", "--engine", "unfold"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    # Two workers, and what keeps the names of multiprocessing.
    while command.poll() is None and len(psutil.Process(command.pid).children()) < 3:
        time.sleep(0.05)
    time.sleep(1.0)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    out, err = command.communicate(timeout=30)
    assert (command.returncode, out, err) == (130, "", "")
    assert not has_worker_processes(before)

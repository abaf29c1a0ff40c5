"""The command as a process: pipes, signals, stdin, streams, what it imports, its memory."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ENVIRONMENT, map_size, patchsim
from PIL import Image

from patchsim.cli import console
from patchsim.cli.app import app

# Long enough that no machine ends it before the signal comes.
LONG = ["--device", "cpu", "--explain", "--map", "m.npy", "--overlay", "o.png"]


@pytest.fixture
def folder(astronaut, save, tmp_path, monkeypatch):
    save("big.png", astronaut[:160, 100:300])
    save("face.png", astronaut[100:131, 200:241])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def files():
    return sorted(p.name for p in Path().iterdir())


@pytest.mark.usefixtures("folder")
def test_a_pipeline_gives_the_coordinates():
    line = 'patchsim match big.png face.png | tail -n +2 | cut -f1,2 | head -n 1; echo "$?"'
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True, text=True, env={**ENVIRONMENT, "PATH": path}, check=True,
    )  # fmt: skip
    assert done.stdout == "100\t100\n0\n"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("form", ["tsv", "table", "json"])
def test_a_closed_pipe_is_silent(form):
    # One-pixel windows without suppression: far more lines than a pipe holds.
    words = ["big.png", "big.png", "--threshold", "0", "--overlap", "1", "--format", form]
    process = patchsim("match", *words, "--no-heatmap")
    process.stdout.close()
    process.stdout = None
    assert finished(process)[0::2] == (0, "")


def streams(*words):
    """What the command writes to stdout and stderr, as bytes."""
    command = [sys.executable, "-m", "patchsim", "match", "big.png", "face.png", *words]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "words", ["--overlay - --labels score", "--heatmap -", "--blend - --no-heatmap"]
)
def test_a_picture_goes_to_stdout_and_the_matches_to_stderr(words):
    out, err = streams(*words.split(), "--top", "1", "--quiet")
    with Image.open(io.BytesIO(out)) as picture:
        assert picture.format == "PNG"
        picture.load()
    header, row = err.decode().splitlines()
    assert header.startswith("x\ty\twidth")
    assert row.startswith("100\t100\t41\t31\t1.0\t")


@pytest.mark.usefixtures("folder")
def test_a_map_goes_to_stdout_and_json_to_stderr():
    out, err = streams("--map", "-", "--no-heatmap", "--quiet", "--format", "json")
    scores = np.load(io.BytesIO(out))
    assert scores.max() == json.loads(err)["matches"][0]["score"] == 1


def test_help_into_a_closed_pipe_is_silent():
    process = patchsim("match", "--help")
    process.stdout.close()
    process.stdout = None
    assert finished(process)[0::2] == (0, "")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_search_without_a_file(sent, code, astronaut, save):
    save("huge.bmp", np.tile(astronaut, (6, 6, 1)))
    save("large.bmp", np.tile(astronaut, (2, 2, 1))[:512, :700])
    before = files()
    process = patchsim("match", "huge.bmp", "large.bmp", *LONG)
    for line in process.stderr:  # the plan is printed last before the search
        if "chosen: " in line:
            break
    process.send_signal(sent)
    returned, out, err = finished(process)
    assert (returned, out, err) == (code, "", "")
    assert files() == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_the_caller_ignores_stay_ignored(sent):
    process = patchsim(
        "match", "big.png", "face.png", "--explain", "--no-heatmap",
        preexec_fn=lambda: signal.signal(sent, signal.SIG_IGN),
    )  # fmt: skip
    next(process.stderr)  # the plan: the search begins
    process.send_signal(sent)
    code, out, _ = finished(process)
    assert code == 0
    assert out.startswith("x\ty\t")


@pytest.mark.usefixtures("folder")
def test_the_image_comes_from_stdin():
    with Path("big.png").open("rb") as file:
        code, out, err = finished(
            patchsim("match", "-", "face.png", "--format", "json", stdin=file)
        )
    assert code == 0
    assert json.loads(out)["image"] == "-"
    assert json.loads(out)["matches"][0]["x"] == 100
    assert "heatmap stdin.heatmap.png" in err
    assert map_size("stdin.heatmap.png") == (160, 130)


@pytest.mark.usefixtures("folder")
def test_empty_stdin_is_named():
    code, out, err = finished(patchsim("match", "-", "face.png"))
    assert (code, out) == (2, "")
    assert err == "patchsim: standard input is empty (0 bytes); pipe a picture in\n"


@pytest.mark.usefixtures("folder")
def test_results_on_a_full_disk_exit_3():
    with Path("/dev/full").open("w") as full:
        process = patchsim("match", "big.png", "face.png", "--no-heatmap", stdout=full)
        code, _, err = finished(process)
    assert code == 3
    assert err.startswith("patchsim: cannot write the results: No space left on device")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_a_map_goes_to_stdout_when_asked_to_even_into_a_file():
    with Path("out").open("wb") as out:
        words = ["big.png", "face.png", "--no-heatmap", "--format", "jsonl", "--top", "1"]
        process = patchsim("match", *words, "--map", "/dev/stdout", stdout=out)
        assert finished(process)[0] == 0
    with Path("out").open("rb") as file:
        assert np.load(file).shape == (130, 160)
        assert json.loads(file.read())["x"] == 100


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("output", ["--heatmap", "--map", "--overlay"])
def test_a_reader_that_leaves_early_ends_no_search(output):
    process = patchsim(
        "match", "big.png", "face.png", "--quiet", "--no-margin",
        *(["--no-heatmap"] if output != "--heatmap" else []), output, "/dev/stdout", text=False,
    )  # fmt: skip
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    process.stdout = None
    assert finished(process) == (0, None, b"")


@pytest.mark.usefixtures("folder")
def test_read_only_outputs_are_replaced_by_force_alone(run):
    Path("big.heatmap.png").write_bytes(b"old")
    Path("big.heatmap.png").chmod(0o444)
    code, out, err = run("match", "big.png", "face.png")
    assert (code, out) == (2, "")
    assert err.endswith(
        "big.heatmap.png is read-only; give another name, or --force (force=True)\n"
    )
    assert Path("big.heatmap.png").read_bytes() == b"old"
    assert run("match", "big.png", "face.png", "--force")[0] == 0
    assert map_size("big.heatmap.png") == (160, 130)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from patchsim.cli import console; from patchsim.cli.app import app\n"
        "assert console.run(app, ['match', '--help']) == 0\n"
        "print([m for m in ('torch', 'scipy', 'numpy', 'PIL', 'cmap') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


SLOW = (
    "torch",
    "scipy",
    "pydantic",
    "cmap",
    "rich",
    "psutil",
    "PIL.TiffImagePlugin",
    "PIL.ImageDraw",
    "numpy.ma",
    "importlib.metadata",
    "json",
    "sysconfig",
)
# What other commands, other options, other formats of files and other engines need.
UNUSED = """
    cli.completion cli.completion_scripts cli.loss cli.usage compat registration
    engines.common.fused_weighted engines.pruned.best_finder engines.pruned.byte_copy
    engines.pruned.byte_search engines.pruned.cells engines.pruned.wide_search
    geometry.polygons geometry.turned_boxes
    matches.auto_threshold matches.listed_windows matches.pose_selection matches.reading_order
    matches.swept_blocks
    matching.delegated matching.each_frame matching.fingerprint matching.repeated
    metrics.local_differences metrics.moments metrics.plain_sums numerics.bspline
    output.exporters.map output.map_files.contract output.reduced_image output.thumbnails
    pictures.chunk_cache pictures.coded_size pictures.fourth_channel pictures.jpeg pictures.large
    pictures.piped pictures.plane pictures.png16 pictures.pnm pictures.reduced
    pictures.least_bytes pictures.frames pictures.slide_source pictures.source pictures.zarr_layout
    planning.replanning poses.axis poses.grid poses.warp ranking.block_maxima ranking.pruned_windows
    scene.visible_windows
    search.bands search.criteria search.place_count search.threshold_share search.unkept_maps
    search.window_sample
"""


@pytest.mark.usefixtures("folder")
@pytest.mark.skipif(sys.platform != "linux", reason="psutil tells the free memory elsewhere")
def test_a_small_search_imports_nothing_that_it_does_not_need():
    unused = [f"patchsim.{name}" for name in UNUSED.split()]
    assert all(importlib.util.find_spec(name) for name in unused)
    code = (
        "import sys; from patchsim.cli import console; from patchsim.cli.app import app\n"
        "words = ['match', 'big.png', 'face.png', '--quiet']\n"
        "assert console.run(app, words) == 0\n"
        f"print([m for m in {[*SLOW, *unused]} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert map_size("big.heatmap.png") == (160, 130)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("given", "seen"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2")])
def test_openblas_has_one_thread_unless_the_user_wants_more(given, seen):
    code = (
        "import gc, os; from patchsim.cli import console; from patchsim.cli.app import app\n"
        "words = ['match', 'big.png', 'face.png', '--quiet', '--no-heatmap', '--top', '1']\n"
        "assert 'OPENBLAS_NUM_THREADS' not in os.environ or '2' in sys.argv\n"
        "assert console.run(app, words) == 0 and gc.isenabled()\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'])"
    ).replace("assert 'OPENBLAS_NUM_THREADS' not in os.environ or '2' in sys.argv\n", "")
    plain = {key: text for key, text in ENVIRONMENT.items() if key != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**plain, **given}, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == seen


@pytest.mark.usefixtures("folder")
@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"),
    reason="malloc of glibc",
)
@pytest.mark.parametrize(("given", "seen"), [({}, [1]), ({"MALLOC_ARENA_MAX": "3"}, [2, 3])])
def test_malloc_has_one_heap_unless_the_user_wants_more(given, seen):
    """The library itself counts its heaps, behind a search by windows in four threads."""
    code = (
        "import ctypes; from patchsim.cli import console; from patchsim.cli.app import app\n"
        "words = ['match', 'big.png', 'face.png', '--quiet', '--no-heatmap', '--threads', '4']\n"
        "assert console.run(app, [*words, '--max-pixels', '2000', '--memory', '200MB']) == 0\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.fopen.restype = ctypes.c_void_p\n"
        "out = ctypes.c_void_p(libc.fopen(b'heaps.xml', b'w'))\n"
        "assert libc.malloc_info(0, out) == libc.fclose(out) == 0\n"
    )
    plain = {key: text for key, text in ENVIRONMENT.items() if key != "MALLOC_ARENA_MAX"}
    subprocess.run([sys.executable, "-c", code], env={**plain, **given}, check=True)
    assert Path("heaps.xml").read_text().count("<heap nr=") in seen


@pytest.mark.usefixtures("folder")
def test_a_process_that_has_numpy_is_left_as_it_is(monkeypatch, capsys):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    frozen = gc.get_freeze_count()  # by the tests, some of whose objects go while the search runs
    assert console.run(app, ["match", "big.png", "face.png", "--quiet", "--no-heatmap"]) == 0
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert gc.get_freeze_count() <= frozen
    assert "face.png" in capsys.readouterr().out


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, patchsim; from patchsim import InputError\n"
        "assert 'match' in dir(patchsim)\n"
        "print([m for m in ('torch', 'scipy', 'numpy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout == "[]\n"


# Torch takes longer to load than most searches; what of it is loaded late is none of the search's.
UNFOLD = """
import numpy as np, torch
from patchsim import match
match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), engine="unfold", heatmap="/dev/null")
"""
LAYER = """
import torch
from patchsim import similarity_map
generator = torch.Generator().manual_seed(0)
small = torch.rand(1, 9, 9, requires_grad=True)
similarity_map(small, small.detach()[:, :3, :3]).sum().backward()
"""


def peak(code, before=""):
    """Bytes by which the resident memory rises at its highest while the code runs."""
    preamble = """
import re, numpy as np, scipy, PIL.Image, cmap, patchsim
from pathlib import Path
from patchsim import match
from patchsim.machine.memory import parse_size
match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), heatmap="/dev/null",
      overlay="/dev/null")
def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def start():
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    return status("VmRSS")
before = start()
"""
    done = subprocess.run(
        [sys.executable, "-c", before + preamble + code + "\nprint(status('VmHWM') - before)"],
        capture_output=True, text=True, env=ENVIRONMENT, check=True,
    )  # fmt: skip
    return int(done.stdout)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")


@LINUX
@pytest.mark.parametrize("engine", ["simd", "unfold"])
def test_a_search_stays_within_its_memory(engine):
    used = peak(
        f"""
image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
options = dict(memory="512MB", engine="{engine}", stride=6 if "{engine}" == "unfold" else 1)
report = match(image, image[504:536, 702:734].copy(), **options)
assert (report.best.x, report.best.y, report.best.score) == (702, 504, 1.0)
""",
        UNFOLD if engine == "unfold" else "",
    )
    assert used <= 512_000_000


@LINUX
def test_the_layer_stays_within_its_memory_backward_too():
    # All taps and pixels, a few of the windows, which have more values than the memory holds:
    # stride 1 takes a minute and the same memory.
    used = peak(
        """
image = torch.rand(3, 1080, 1920, generator=generator, requires_grad=True)
kernel = torch.rand(3, 64, 64, generator=generator, requires_grad=True)
similarity_map(image, kernel, stride=17, memory="256MB").sum().backward()
assert image.grad.abs().sum() > 0 and kernel.grad.abs().sum() > 0
""",
        LAYER,
    )
    assert used <= 256_000_000


# What is kept, decoded or drawn beside the tiles: with the least memory that is said to suffice.
CASES = {
    "large kernel": "kernels = [noise(2000, 2000, 3)[:1900, :1900]]; image = noise(2000, 2000, 3)",
    "kernels": "kernels = [noise(900, 900, 3) for _ in range(5)]; image = noise(1000, 1000, 3)",
    "overlay": "kernels = [noise(9, 9, 3)]; image = noise(4000, 3000, 3) // 255;"
    " out['overlay'] = 'o.png'",
    "floats": "kernels = [np.float32(noise(99, 99, 3) / 255)]; image = noise(2000, 2000, 3)",
    "16 bits": "kernels = [noise(9, 9, 1)]; image = noise(3000, 3000, 1).astype(np.uint16) * 257",
    "map": "kernels = [noise(9, 9, 1)]; image = noise(2500, 2500, 1); out['heatmap'] = 'h.png'",
}


@LINUX
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", CASES)
def test_the_least_memory_holds(case):
    # Floats are compared by torch in these few windows.
    used, allowed = run_with_least_memory(CASES[case], UNFOLD if case == "floats" else "")
    # Allocators, the interpreter and what numpy loads late are not the search's.
    assert used <= allowed + 12_000_000


def run_with_least_memory(case, before=""):
    used = peak(
        f"""
random = np.random.default_rng(0)
def noise(*shape):
    return random.integers(0, 256, shape, dtype=np.uint8)
out = {{}}
{case}
stride = [max(1, (a - b) // 2) for a, b in zip(image.shape, kernels[0].shape)][:2]
if 'heatmap' in out:
    stride = 1
memory = 1
while memory:
    try:
        before = start()
        match(image, kernels, stride=stride, memory=memory, **out)
        break
    except patchsim.InputError as error:
        said = re.search(r"([\\d.]+ [kMG]?B) is the least", str(error))[1]
        memory = parse_size(said)
Path("memory").write_text(str(memory))
""",
        before,
    )
    return used, int(Path("memory").read_text())


@LINUX
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("RGBA", "png"), ("RGBA", "webp"), ("CMYK", "tif"), ("I", "tif"),
     ("F", "tif"), ("I;16", "png"), ("L", "jpg"), ("P", "gif"), ("1", "tif"), ("turned", "jpg")],
)  # fmt: skip
def test_decoding_takes_what_it_says(mode, suffix):
    used = peak(f"""
from patchsim.pictures import reader
PIL.Image.init()
random = np.random.default_rng(0)
exif = PIL.Image.Exif()
if {mode!r} == "turned":
    exif[0x0112] = 6
grey = np.kron(random.integers(0, 256, (300, 400), dtype=np.uint8), np.ones((10, 10), np.uint8))
picture = PIL.Image.fromarray(grey)
if {mode!r} == "I;16":
    picture = PIL.Image.fromarray(grey.astype(np.uint16))
elif {mode!r} != "turned":
    picture = picture.convert("RGB").convert({mode!r}) if {mode!r} not in "IF" else (
        picture.convert({mode!r}))
else:
    picture = picture.convert("RGB")
quick = {{"compress_level": 1, "method": 0}} | ({{"exif": exif}} if {mode!r} == "turned" else {{}})
picture.save("a.{suffix}", **quick)
del picture, grey
reader.open_picture("face.png", name="image")
memory = 1
while memory:
    try:
        before = start()
        reader.open_picture("a.{suffix}", name="image", memory=memory)
        break
    except patchsim.InputError as error:
        memory = parse_size(re.search(r"takes ([\\d.]+ [kMG]?B)", str(error))[1])
Path("memory").write_text(str(memory))
""")
    assert used <= int(Path("memory").read_text()) + 12_000_000

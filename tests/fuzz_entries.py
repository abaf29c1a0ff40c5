"""Calls the entries of the C extensions with hostile sizes and arrays; run by `make asan`.

Searches are recorded first: each call of an entry is sound. Then one to three of its arguments are
replaced, and it must return or raise an exception of the caller's; a sanitizer sees the rest. An
entry that no search calls must be among `ALONE`, so that new ones come with it.

    python tests/fuzz_entries.py [SECONDS [SEED]] [--trace]
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import math
import os
import random
import sys
import threading
import time
import weakref
from collections import Counter, defaultdict
from unittest import mock

import numpy as np

import patchsim
from patchsim.engines import Problem
from patchsim.engines.pruned import byte_search
from patchsim.geometry.tiles import Tile
from patchsim.metrics import window_sums

MODULES = (
    "engines._correlation", "engines._moments", "engines._pruned", "engines._sad",
    "metrics._windows", "registration._poses",
)  # fmt: skip
# Entries of sizes alone, of the variants' names, and one that small searches on a CPU do not need.
ALONE = {
    "_moments.moments": (np.zeros((6, 6, 3), np.uint16), "H", 36, 3, 3, 3, 1, 1, 4, 4,
                         np.zeros(3, np.int64), np.ones(3, np.int64), np.zeros(16),
                         np.zeros(16, np.int64)),
    "_sad.scratch": ("B", (9, 9, 3), (3, 3, 3), (1, 1), 0),
    "_sad.roundings": ("portable",),
    "_sad.peak": ("portable", 1),
    "_sad.release": (),
    "_sad.variants": (),
    "_correlation.scratch": ("B", (9, 9), (3, 3, 1), (1, 1), 8, False, 1, 1, 1, "*", 2, True),
    "_correlation.weighted_scratch": ("d", (9, 9), (3, 3, 1), True, "zncc", (1, 1), 8, 1, 1, 1),
    "_correlation.at_once": ("*", "B"),
    "_correlation.values": ((256, 256), 2),
    "_correlation.release": (),
    "_correlation.variants": (),
    "_pruned.variants": (),
    "_windows.variants": (),
    "_poses.variants": (),
}  # fmt: skip
REFUSALS = (ValueError, TypeError, BufferError, OverflowError, MemoryError)
SIZES = (
    0, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**40, 2**40 + 1, 2**61, 2**62,
    2**63 - 1, -1, -2, -(2**31), -(2**63),
)  # fmt: skip
NUMBERS = (0.0, -1.0, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf, 1.0)
TEXTS = ("", "B", "H", "f", "d", "Q", "zncc", "ssd", "sad", "portable", "avx2", "x" * 99)
KEPT = 6  # calls of an entry
LARGEST = 4 << 20  # bytes of a call's arrays

_libc = ctypes.CDLL(None)
_libc.free.argtypes = [ctypes.c_void_p]
_libc.posix_memalign.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t]


def bytes_at_a_border(count, offset=0):
    """Memory aligned to 64 but for `offset`; a sanitizer sees each access behind its last byte."""
    place = ctypes.c_void_p()
    if _libc.posix_memalign(ctypes.byref(place), 64, max(1, count + offset)):
        raise MemoryError
    memory = (ctypes.c_char * max(1, count + offset)).from_address(place.value)
    weakref.finalize(memory, _libc.free, place.value)
    return np.frombuffer(memory, np.uint8)[offset : offset + count]


def copied(value, offset=0):
    """A copy of an argument, of an array at a border."""
    if not isinstance(value, np.ndarray):
        return value
    array = bytes_at_a_border(value.nbytes, offset).view(value.dtype).reshape(value.shape)
    array[...] = value
    return array


class Recorder:
    """Keeps the first calls of each entry, as sound as they were."""

    def __init__(self):
        self.calls = defaultdict(list)
        self.entries = {}

    def watch(self, name):
        module = importlib.import_module(f"patchsim.{name}")
        for entry, function in inspect.getmembers(module, inspect.isbuiltin):
            label = f"{name.split('.')[1]}.{entry}"
            self.entries[label] = function
            setattr(module, entry, self._recording(label, function))

    def _recording(self, label, function):
        def recorded(*args, **keywords):
            values = (*args, *keywords.values())
            size = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
            if size <= LARGEST and self._is_new(label, values):
                self.calls[label].append(
                    ([copied(v) for v in args], {k: copied(v) for k, v in keywords.items()})
                )
            return function(*args, **keywords)

        return recorded

    def _is_new(self, label, values):
        kinds = [v.dtype.str + str(v.ndim) if isinstance(v, np.ndarray) else str(v)[:9]
                 if isinstance(v, str | bool) or v is None else "" for v in values]  # fmt: skip
        is_new = (label, *kinds) not in self._seen and self._count[label] < KEPT
        self._seen.add((label, *kinds))
        self._count[label] += is_new
        return is_new

    _seen: set = set()  # noqa: RUF012 - there is one recorder
    _count: Counter = Counter()  # noqa: RUF012


def search(chance):
    """Search small pictures in all ways that lead to an entry."""
    values = np.random.default_rng(chance.randrange(2**32))
    image = values.integers(0, 256, (40, 50, 2), dtype=np.uint8)
    smooth = np.kron(values.integers(0, 256, (10, 13, 1)), np.ones((5, 4, 1)))[:40, :50]
    shades = values.integers(0, 255, (9, 8), dtype=np.uint8)
    seen = values.integers(0, 255, (40, 50), dtype=np.uint8)
    pictures = (image, image.astype(np.uint16) * 250, np.float32(image / 255), image / 255.0)
    # Of the second picture of a kind curves are made for the kernel.
    for picture in (smooth.astype(np.uint8), np.float32(smooth / 255)):
        within = patchsim.Matcher(picture[5:14, 7:15], engine="fft", tolerance=0.02, threads=1)
        products = [within.match(picture, map=True).plans[0].problem.products for _ in range(2)]
        assert products[1].is_fitted
    for picture in (*pictures, smooth.astype(np.uint8)):
        kernel = np.ascontiguousarray(picture[5:14, 7:15])
        # Searches score windows without the sums, unless these exceed 64 bits.
        for weights in (None, shades):
            pair = window_sums.Pair.of(picture, kernel, weights)
            pair.differences(np.array([[5, 7], [0, 1]]), squares=weights is None)
        for metric in ("sad", "ssd", "ncc", "zncc"):
            for options in ({"map": True}, {"mask": shades, "map": True}, {"margin": False},
                            {"threshold": 0.5, "margin": False}, {"map": True, "engine": "fft"},
                            {"map": True, "stride": 2}, {"image_mask": seen}):  # fmt: skip
                try:
                    patchsim.match(picture, kernel, metric=metric, threads=1, **options)
                except patchsim.InputError:  # an engine that does not take this
                    continue
    wide = np.kron(values.integers(0, 256, (30, 30, 1)), np.ones((6, 6, 1)))
    wide = np.clip(wide + values.integers(-9, 9, wide.shape), 0, 255).astype(np.uint8)
    mask = values.integers(0, 255, (60, 64), dtype=np.uint8)
    for picture in (wide, wide.astype(np.uint16) * 250, np.float32(wide / 255), wide / 255.0):
        kernel = (
            picture[31:91, 47:111] // 2 + 9 if picture.dtype == np.uint8 else picture[31:91, 47:111]
        )
        for metric in ("sad", "ssd"):
            for options in ({}, {"mask": mask}, {"stride": 2}, {"threshold": 0.9}):
                patchsim.match(picture, kernel, metric=metric, engine="pruned", margin=False,
                               top=3, threads=1, **options)  # fmt: skip
    # Small searches compare windows in place of making finer bounds.
    kernel = np.ascontiguousarray(wide[31:91, 47:111])
    for metric in ("sad", "ssd"):
        problem = Problem(
            wide.shape, kernel.shape, "uint8", (1, 1), metric, 255, "cpu", 1, map_wanted=False
        )
        finer, whole = byte_search.Search(wide, kernel, problem), Tile(0, 0, *problem.map_shape)
        bounds = np.empty(problem.map_shape, np.uint16)
        finer.bound(whole, bounds, whole)
        for level in range(finer.levels):
            finer.refine(level, whole, bounds, whole, 0.5)
    # The third search of a kind of picture bounds its windows in one call.
    for picture in (wide, wide[..., 0]):
        matcher = patchsim.Matcher(
            picture[31:91, 47:111], engine="pruned", top=1, margin=False, threads=1
        )
        for _ in range(3):
            matcher.match(picture, map=False)
    several = [np.ascontiguousarray(image[y : y + 9, 5:13]) for y in (3, 11, 20)]
    for metric in ("ssd", "zncc"):
        patchsim.match(image, several, metric=metric, engine="fft", map=True, threads=1)
    kernel = np.ascontiguousarray(smooth[6:26, 9:33].astype(np.uint8))
    for metric in ("sad", "zncc"):
        patchsim.match(smooth.astype(np.uint8), kernel, metric=metric, scales="0.8:1.25",
                       angles="any", threads=1)  # fmt: skip


def changed_array(chance, array, others):
    """An array that differs from what an entry expects."""
    kind = chance.randrange(12)
    if kind == 0:
        return copied(array.ravel()[: chance.randrange(array.size + 1)])
    if kind == 1:
        return copied(array.astype(chance.choice(["u1", "u2", "i4", "i8", "f4", "f8", "?"])))
    if kind == 2 and array.size:
        cut = tuple(
            slice(chance.randrange(2), max(1, n - chance.randrange(2))) for n in array.shape
        )
        return copied(array[cut])
    if kind == 3:
        return copied(array, offset=1)
    if kind == 4 and array.ndim:
        step = tuple(slice(None, None, chance.choice([-1, 1, 2])) for _ in array.shape)
        return copied(array)[step]
    if kind == 5 and array.size:
        one = copied(array[tuple(slice(0, 1) for _ in array.shape)])
        return np.lib.stride_tricks.as_strided(
            one, [chance.choice([n, n + 1, 64]) for n in array.shape], [0] * array.ndim
        )
    if kind == 6:
        return chance.choice(others)
    if kind == 7:
        return None
    if kind == 8:
        return copied(array[..., None] if chance.random() < 0.5 else array.reshape(-1))
    if kind == 9:
        array = copied(array)
        array.flags.writeable = False
        return array
    array = copied(array)
    if array.size and array.dtype.kind == "f":
        array.flat[chance.randrange(array.size)] = chance.choice(NUMBERS)
    elif array.size and array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        array.flat[chance.randrange(array.size)] = chance.choice([limits.min, limits.max, 0])
    return array


def changed(chance, value, others):
    """A hostile value in place of an argument."""
    if isinstance(value, np.ndarray):
        return changed_array(chance, value, others)
    if isinstance(value, tuple | list) and value:
        at = chance.randrange(len(value))
        return (*value[:at], changed(chance, value[at], others), *value[at + 1 :])
    if isinstance(value, str):
        return chance.choice(TEXTS)
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, int | np.integer):
        near = int(value) + chance.choice([-1, 1, 2, -2])
        return chance.choice([*SIZES, near, near, near])
    if isinstance(value, float | np.floating):
        return chance.choice(NUMBERS)
    return chance.choice([None, *others])


def shown(value):
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {list(value.shape)} by {list(value.strides)}>"
    return repr(value)


def recorded(chance):
    """Return all entries, and sound calls of each."""
    recorder = Recorder()
    for name in MODULES:
        recorder.watch(name)
    # Steps of a search that its time would not allow call entries, too.
    with mock.patch("patchsim.ranking.search_budget._CHEAP", math.inf):
        search(chance)
    best = importlib.import_module("patchsim.engines._correlation").variants()[0]
    for label, args in ALONE.items():
        sound = [best if isinstance(a, str) and a == "*" else a for a in args]
        recorder.calls[label].append((sound, {}))
    missing = sorted(set(recorder.entries) - set(recorder.calls))
    assert not missing, f"no search calls {', '.join(missing)}"
    return recorder.entries, recorder.calls


def spoiled(chance, call):
    """A copy of a call, of which one to three arguments are replaced."""
    args, keywords = [copied(a) for a in call[0]], {k: copied(v) for k, v in call[1].items()}
    arrays = [v for v in (*args, *keywords.values()) if isinstance(v, np.ndarray)]
    places = [*range(len(args)), *keywords]
    for place in chance.sample(places, min(len(places), chance.choice([1, 1, 2, 3]))):
        holder = args if isinstance(place, int) else keywords
        holder[place] = changed(chance, holder[place], arrays or [None])
    return args, keywords


class Watch:
    """Ends the process where a call takes longer than a minute, and says which."""

    def __init__(self, trace):
        self._trace = trace
        self._call, self._began = None, math.inf
        threading.Thread(target=self._look, daemon=True).start()

    def begin(self, label, args, keywords):
        self._call, self._began = (label, args, keywords), time.monotonic()
        if self._trace:
            self._tell("")

    def end(self):
        self._began = math.inf

    def _tell(self, what):
        label, args, keywords = self._call
        told = [*map(shown, args), *(f"{k}={shown(v)}" for k, v in keywords.items())]
        print(what, label, *told, file=sys.stderr, flush=True)

    def _look(self):
        while time.monotonic() - self._began < 60:
            time.sleep(1)
        self._tell("takes more than a minute:")
        os._exit(1)


def fuzz(seconds, seed, *, trace=False):
    """Call entries for so many seconds; return how often each returned, and each refused."""
    chance = random.Random(seed)
    entries, calls = recorded(chance)
    results = {label: Counter() for label in sorted(entries)}
    np.seterr(all="ignore")  # casts of hostile values
    for label in results:  # as they were recorded: a refusal ends this
        for args, keywords in calls[label]:
            entries[label](*map(copied, args), **{k: copied(v) for k, v in keywords.items()})
    end, watch = time.monotonic() + seconds, Watch(trace)
    while time.monotonic() < end:
        for label, counts in results.items():
            args, keywords = spoiled(chance, chance.choice(calls[label]))
            watch.begin(label, args, keywords)
            try:
                entries[label](*args, **keywords)
                counts["returned"] += 1
            except REFUSALS:
                counts["refused"] += 1
            watch.end()
    return results


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:] if word != "--trace"]
    seconds, seed = (*numbers, *(60, 16)[len(numbers) :])
    for label, counts in fuzz(seconds, int(seed), trace="--trace" in sys.argv).items():
        print(f"{label:30} {counts['returned']:8,} returned {counts['refused']:8,} refused")

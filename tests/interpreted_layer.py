"""Sums and gradients of `cuda_parts` without a card: its kernels on the CPU, in the interpreter.

A process of its own, as `interpreted.py` is: it reads pickled lists of (image, kernel,
stride, grad, scratch, multiprocessors) from stdin and writes for each one of (sums, image's
gradient, kernel's gradient, bytes that the sums took at most, the gradients); scratch None is the
least.
"""

from __future__ import annotations

import contextlib
import os
import weakref

import numpy as np
from helpers.interpreter import serve

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from patchsim.engines.cuda import launch
from patchsim.layer import cuda_parts


class Allocated(TorchDispatchMode):
    """Counts the bytes of tensors that are made and not dropped yet."""

    def __init__(self):
        super().__init__()
        self.known, self.now, self.most, self.paused = set(), 0, 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {storage._cdata for storage in storages((args, kwargs))}
        found = func(*args, **(kwargs or {}))
        for storage in storages(found):
            # What is a view of an argument was there before.
            if not self.paused and storage._cdata not in given | self.known:
                self.known.add(storage._cdata)
                self.add(storage.nbytes())
                weakref.finalize(storage, self.drop, storage._cdata, storage.nbytes())
        return found

    def drop(self, known, size):
        self.known.remove(known)
        self.add(-size)

    @contextlib.contextmanager
    def launching(self, _device):
        """As `launch.launching`; the interpreter has copies of its own of the arguments."""
        self.paused = True
        yield
        self.paused = False

    def add(self, size):
        self.now += size
        self.most = max(self.most, self.now)


def storages(tree):
    return [each.untyped_storage() for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]


def allocating(work):
    """What it returns, and what it took beside that."""
    with Allocated() as allocated, np.errstate(all="ignore"):  # a card does not warn
        launch.launching = allocated.launching
        found = work()
        kept = sum(each.nbytes for each in tree_leaves(found) if isinstance(each, torch.Tensor))
    return found, allocated.most - kept


def sums_and_gradients(cases):
    done = []
    for image, kernel, stride, grad, scratch, multiprocessors in cases:
        launch.multiprocessors = lambda _device, count=multiprocessors: count
        pixels, taps, weights = map(torch.from_numpy, (image, kernel, grad))
        scratch = scratch or cuda_parts.smallest_scratch(pixels, taps, stride)
        sums, for_sums = allocating(
            lambda: cuda_parts.difference_sums(pixels, taps, stride, scratch)  # noqa: B023
        )
        grads, for_grads = allocating(
            lambda: cuda_parts.difference_gradients(
                pixels, taps, stride, weights, scratch, wanted=(True, True)  # noqa: B023
            )
        )  # fmt: skip
        arrays = [each.numpy() for each in (sums, *grads)]
        done.append((*arrays, for_sums / scratch, for_grads / scratch))
    return done


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)  # nothing is timed
    serve(sums_and_gradients)

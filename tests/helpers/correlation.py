"""The C extension of correlations and its variants, for the tests of both of its passes."""

from __future__ import annotations

import shutil

import pytest

if shutil.which("cc"):
    from patchsim.engines import _correlation  # a failed build is an error where a compiler is
else:
    _correlation = pytest.importorskip(
        "patchsim.engines._correlation", reason="the C extension was not built: no compiler"
    )

extension = _correlation
# Two of one name differ by the processor, which takes the first of them.
VARIANTS = list(dict.fromkeys(extension.variants()))

#!/usr/bin/env bash
# Builds the C with the address and undefined-behaviour sanitizers of gcc, outside the tree,
# and runs their tests: every variant that this processor has. PYTHON has patchsim's test extras.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

cp -r patchsim tests pyproject.toml "$built"
rm -f "$built"/patchsim/*/*.so
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
for name in engines/_sad engines/_moments engines/_pruned engines/_correlation metrics/_windows \
    registration/_poses; do
    gcc -std=c11 -O1 -g -fPIC -shared -Wall -Wextra -Werror \
        -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
        -I"$include" patchsim/$name*.c -o "$built/patchsim/$name.abi3.so" -lm
done

cd "$built"
export LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)"
# The interpreter frees nothing when it ends; memory that is not there is an exception of Python's.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export PYTHONPATH="$built"
"$python" -c '
import sys
from patchsim.engines import _correlation, _moments, _pruned, _sad
from patchsim.metrics import _windows
from patchsim.registration import _poses
for module in (_correlation, _moments, _poses, _pruned, _sad, _windows):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
print("under the sanitizers:", *_sad.variants())' "$built"
# A minute of hostile sizes; the seed is new each day, and told with --trace.
"$python" -W error tests/fuzz_entries.py 60 "$(date +%j)"
# Captured by pytest, a report would be lost with the process.
"$python" -m pytest -q -p no:cacheprovider --capture=sys tests/engines/test_simd.py tests/engines/test_fft.py \
    tests/engines/test_pruned.py tests/engines/test_fused.py tests/engines/test_fused_weighted.py \
    tests/engines/test_fitted.py \
    tests/metrics/test_window_sums.py tests/registration/test_loops.py "$@"

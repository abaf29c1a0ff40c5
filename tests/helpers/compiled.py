"""What Triton compiles a kernel to: registers that do not suffice, innermost loops."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def spilled(code, architecture, folder):
    """Bytes, as ``ptxas -v`` has them."""
    from triton.backends.nvidia.compiler import get_ptxas

    source = folder / "kernel.ptx"
    source.write_text(code.asm["ptx"], encoding="utf-8")
    target = re.search(r"^\.target (\w+)", code.asm["ptx"], re.M)[1]
    done = subprocess.run(
        [get_ptxas(architecture).path, "-v", "--regAllocOptLevel=2", f"--gpu-name={target}",
         source, "-o", folder / "kernel.cubin"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(size) for size in re.findall(r"(\d+) bytes spill", done.stderr + done.stdout)]


def loops(code, folder):
    """The instructions of each innermost loop, without predicates and operands."""
    binary = folder / "code.cubin"
    binary.write_bytes(code.asm["cubin"])
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    text = subprocess.run([tool, binary], capture_output=True, text=True, check=True).stdout
    found, labels, jumps = [], {}, []
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(found)
        elif instruction := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(.*?);", line):
            if (jump := re.match(r"BRA.*`\((\.L_x_\d+)\)", instruction[1])) and jump[1] in labels:
                jumps.append((labels[jump[1]], len(found)))
            found.append(instruction[1].split()[0])
    inner = [jump for jump in jumps if not any(_within(other, jump) for other in jumps)]
    return [found[a : b + 1] for a, b in inner]


def _within(one, other):
    return one != other and other[0] <= one[0] and one[1] <= other[1]

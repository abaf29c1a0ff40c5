#!/usr/bin/env bash
# Compiles the C engine for 64-bit ARM and runs its NEON variant in an emulator, against plain loops.
# On Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "$tool is not here; see the head of $0" >&2; exit 2; }
done
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
aarch64-linux-gnu-gcc -std=c11 -O3 -Wall -Wextra -Werror -static -Ipatchsim/engines tests/neon.c \
    patchsim/engines/_sad_*.c -o "$built/neon" -lm
qemu-aarch64 "$built/neon"

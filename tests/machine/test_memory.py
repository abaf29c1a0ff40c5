"""Sizes as people write them; what cgroups leave."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from patchsim import InputError
from patchsim.machine import memory


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512MB", 512 * 10**6),
        ("512MiB", 512 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("2g", 2 * 10**9),
        (".5k", 500),
        ("1000000", 10**6),
        (4096, 4096),
        ("1tb", 10**12),
        ("7B", 7),
    ],
)
def test_sizes(text, count):
    assert memory.parse_size(text) == count


@pytest.mark.parametrize("text", ["", "much", "1 parsec", "-1GB", "1e9", "0", "nan", "0.1B", "5 5"])
def test_what_is_no_size_is_named(text):
    with pytest.raises(InputError, match=r"write it like 512MB"):
        memory.parse_size(text)


def test_a_size_beyond_all_numbers_is_refused():
    with pytest.raises(InputError, match="more than any machine has"):
        memory.parse_size("9" * 400)


def test_text_never_rounds_down():
    for count in (1, 999, 1000, 123_456, 10**6 + 1, 5 * 10**9 + 1):
        assert memory.parse_size(memory.format_size(count)) >= count


def test_sizes_are_told_in_the_largest_unit_that_they_reach():
    sizes = {999: "999 B", 1000: "1.0 kB", 999_900: "999.9 kB", 999_901: "1.0 MB"}
    sizes |= {999_999_999: "1.0 GB", 48_710_000: "48.8 MB", 1234 * 10**9: "1234.0 GB"}
    assert {count: memory.format_size(count) for count in sizes} == sizes


def test_the_tightest_cgroup_counts(tmp_path):
    inner = tmp_path / "fs" / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, limit, used in ((inner, "max", 10), (inner.parent, "1000", 700)):
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 100\n")
    (tmp_path / "cgroup").write_text("0::/outer/inner\n")
    assert memory._cgroup_headroom(tmp_path / "fs", tmp_path / "cgroup") == [400]


def test_version_one_of_cgroups(tmp_path):
    group = tmp_path / "fs" / "memory" / "job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("5000")
    (group / "memory.usage_in_bytes").write_text("1000")
    (group / "memory.stat").write_text("total_inactive_file 0\n")
    (tmp_path / "cgroup").write_text("11:cpu,cpuacct:/x\n5:memory:/job\n")
    assert memory._cgroup_headroom(tmp_path / "fs", tmp_path / "cgroup") == [4000]


def test_without_cgroups_the_machine_counts(tmp_path):
    assert memory._cgroup_headroom(tmp_path, tmp_path / "none") == []
    assert memory.available() > 0
    assert memory.default_limit() <= memory.available()


@pytest.mark.parametrize("free", [0, 3, 4, 131, 4 * 31, 4 * 33, 16 << 30, 16 * 10**9])
def test_the_default_limit_is_a_quarter_rounded_down_a_little(free, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: free)
    memory._available_in.cache_clear()
    try:
        assert max(1, free // 4) * 15 / 16 <= memory.default_limit() <= max(1, free // 4)
    finally:
        memory._available_in.cache_clear()


def test_the_default_limit_stays_while_little_memory_is_taken(monkeypatch):
    limits = set()
    for taken in range(0, 200 << 20, 1 << 20):
        monkeypatch.setattr(memory, "available", lambda taken=taken: (35 << 29) - taken)
        memory._available_in.cache_clear()
        limits.add(memory.default_limit())
    memory._available_in.cache_clear()
    assert len(limits) == 1


def test_free_memory_is_what_linux_estimates(tmp_path):
    file = tmp_path / "meminfo"
    file.write_text(
        "MemTotal:        9000 kB\nMemFree: 1 kB\nMemAvailable:    1234 kB\nCached: 5 kB\n"
    )
    assert memory._free_in_machine(file) == 1234 * 1024


@pytest.mark.parametrize(
    "text", [None, "", "MemTotal: 9000 kB\n", "MemTotal: 9 kB\nMemAvailable:\n"]
)
def test_elsewhere_psutil_tells_the_free_memory(text, tmp_path, monkeypatch):
    file = tmp_path / "meminfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=77))
    assert memory._free_in_machine(file) == 77

"""Feature files from strangers: what is read, and what is refused before it does harm."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from patchsim import InputError
from patchsim.slots.feature_files import open_features, pick

GIB = 1 << 30


def rows(path, key, start=0, stop=None, memory=GIB):
    with open_features(path, memory) as found:
        stored = pick(found, (key,), path)
        return stored.read(start, stored.shape[0] if stop is None else stop).clone()


@pytest.fixture
def values():
    return torch.arange(24, dtype=torch.float32).reshape(4, 3, 2) / 7


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".npz", ".npy"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_each_format_gives_its_rows(suffix, dtype, values, tmp_path):
    path, given = tmp_path / f"a{suffix}", values.to(dtype)
    if suffix == ".safetensors":
        save_file({"f": given}, path)
    elif suffix == ".npz":
        np.savez(path, f=given.numpy())
    elif suffix == ".npy":
        np.save(path, given.numpy())
    else:
        torch.save({"f": given}, path)
    key = "" if suffix == ".npy" else "f"
    assert torch.equal(rows(path, key), given)
    assert torch.equal(rows(path, key, 1, 3), given[1:3])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_bfloat16(suffix, values, tmp_path):
    path, given = tmp_path / f"a{suffix}", values.bfloat16()
    save_file({"f": given}, path) if suffix == ".safetensors" else torch.save({"f": given}, path)
    assert torch.equal(rows(path, "f"), given)


def test_compressed_npz_and_other_byte_orders(values, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", f=values.numpy().astype(">f4"))
    assert torch.equal(rows(tmp_path / "a.npz", "f"), values)
    np.save(tmp_path / "a.npy", np.asfortranarray(values.numpy().astype(">f8")))
    assert torch.equal(rows(tmp_path / "a.npy", ""), values.double())


def test_parameters(values, tmp_path):
    torch.save({"f": torch.nn.Parameter(values)}, tmp_path / "a.pt")
    assert torch.equal(rows(tmp_path / "a.pt", "f"), values)


def test_the_format_before_torch_1_6_is_refused(values, tmp_path):
    torch.save({"f": values}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"as torch writes them since 1\.6; save it anew"):
        rows(tmp_path / "a.pt", "f")


@pytest.mark.parametrize("view", ["transposed", "cut", "part", "one", "empty", "shared"])
@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_views_are_read_as_they_look(view, suffix, values, tmp_path):
    given = {
        "transposed": values.permute(2, 0, 1),
        "cut": values[:, 1:, :1],
        "part": values[1:3],
        "one": values[:1].transpose(0, 1)[1:],
        "empty": values[:, :0],
        "shared": values.new_zeros(9)[:8].view(4, 2),
    }[view]
    path = tmp_path / f"a{suffix}"
    if suffix == ".pt":
        torch.save({"": given, "all": values}, path)
    else:
        np.save(path, np.asfortranarray(given.numpy()))
    assert torch.equal(rows(path, ""), given)
    assert torch.equal(rows(path, "", 1, 2), given[1:2])


def test_a_view_that_is_read_whole_and_does_not_fit_is_refused(values, tmp_path):
    torch.save({"f": values.permute(2, 0, 1)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="takes 96 B read whole, but memory is 95 B"):
        rows(tmp_path / "a.pt", "f", memory=95)
    assert torch.equal(rows(tmp_path / "a.pt", "f", memory=96), values.permute(2, 0, 1))


class Attack:
    """Unpickling this makes a folder, if it is let."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_does_not_run(zipped, tmp_path):
    path, harm = tmp_path / "a.pt", tmp_path / "harm"
    torch.save({"f": Attack(harm)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="is refused: it ") as caught:
        rows(path, "f")
    assert "\n" not in str(caught.value)
    assert not harm.exists()
    pickle.loads(pickle.dumps(Attack(harm)))  # it would have
    assert harm.exists()


def test_npz_with_objects_does_not_run(tmp_path):
    harm = tmp_path / "harm"
    np.savez(tmp_path / "a.npz", f=np.array([Attack(harm)], dtype=object))
    with pytest.raises(InputError, match="holds Python objects"):
        rows(tmp_path / "a.npz", "f")
    np.save(tmp_path / "a.npy", np.array([Attack(harm)], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="holds Python objects"):
        rows(tmp_path / "a.npy", "")
    assert not harm.exists()


def npz_that_claims(path, shape, content=b""):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("f.npy", header.getvalue() + content)
    return path


class Huge:
    """Unpickling this makes a byte array or tensor that is nowhere in the file."""

    def __init__(self, make, *arguments):
        self.call = make, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("huge", [Huge(bytearray, 10**9), Huge(torch.Tensor, 10**5, 10, 100)])
def test_a_pickle_that_makes_what_is_not_in_the_file_is_refused(huge, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"f": huge}, path)
    with pytest.raises(InputError, match="is refused: it holds more than plain tensors"):
        rows(path, "f")


def test_a_pickle_of_millions_of_lists_is_refused(values, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"f": values, "other": [[] for _ in range(1_000_000)]}, path)
    with pytest.raises(InputError, match=r"pickle of more than 1,000,000 bytes"):
        rows(path, "f")


def test_what_training_scripts_save_beside_is_no_hindrance(values, tmp_path):
    path = tmp_path / "a.pt"
    beside = {"step": 3, "lr": 1e-3, "name": "run", "shape": values.shape, "dtype": values.dtype,
              "model": torch.nn.Linear(2, 2).state_dict()}  # fmt: skip
    torch.save({"f": values, **beside}, path)
    assert torch.equal(rows(path, "f"), values)


def test_a_huge_npz_header_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        length = 50_000_000
        archive.writestr(
            "f.npy", b"\x93NUMPY\x02\x00" + length.to_bytes(4, "little") + b" " * length
        )
    with pytest.raises(InputError, match="a header of 50,000,000 bytes"):
        rows(tmp_path / "a.npz", "f")


def test_other_members_of_an_npz_are_no_hindrance(values, tmp_path):
    np.savez(tmp_path / "a.npz", f=values.numpy())
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "features")
    assert torch.equal(rows(tmp_path / "a.npz", "f"), values)


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors", ".npy"])
def test_devices_and_pipes_are_refused_before_they_are_opened(suffix, tmp_path):
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    for name in ("zero", "pipe"):
        with pytest.raises(InputError, match="is not a regular file"):
            rows(tmp_path / f"{name}{suffix}", "f")


def test_a_small_npz_that_asks_for_terabytes_is_refused(tmp_path):
    path = npz_that_claims(tmp_path / "a.npz", (1_000_000, 1000, 1000))
    assert path.stat().st_size < 300
    with pytest.raises(InputError, match="4,000,000,000,000 bytes, but holds 0"):
        rows(path, "f")


def test_an_npz_that_unpacks_to_more_than_memory_is_refused(tmp_path):
    path = npz_that_claims(tmp_path / "a.npz", (1000, 1000), bytes(4_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"takes 4\.0 MB read whole, but memory is 1\.0 MB"):
        rows(path, "f", memory=1_000_000)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    torch.save({"f": torch.zeros(1).expand(100_000, 100_000)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="but holds 4 bytes"):
        rows(tmp_path / "a.pt", "f")


@pytest.mark.parametrize("has_checksums", [True, False])
def test_values_that_were_changed_are_damage_where_there_are_checksums(
    has_checksums, values, tmp_path
):
    kept = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(has_checksums)
    try:
        torch.save({"f": values, "other": values + 1}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(kept)
    assert torch.equal(rows(tmp_path / "a.pt", "f"), values)
    content = (tmp_path / "a.pt").read_bytes()
    place = content.index(values.numpy().tobytes())
    (tmp_path / "a.pt").write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    assert torch.equal(rows(tmp_path / "a.pt", "other"), values + 1)
    if has_checksums:
        with pytest.raises(InputError, match="damaged or cut short: the checksum of a/data/0 does"):
            rows(tmp_path / "a.pt", "f")
    else:
        assert not torch.equal(rows(tmp_path / "a.pt", "f"), values)


def test_a_compressed_pt_is_refused(values, tmp_path):
    torch.save({"f": values}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(InputError, match="compressed inside"):
        rows(tmp_path / "b.pt", "f")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.arange(6), "is torch.int64, not floating point"),
        (torch.zeros(2, 2).to_sparse(), "is refused"),
        (torch.zeros(2, dtype=torch.complex64), "complex64, not floating point"),
        ([1.0, 2.0], "is a list, not a tensor"),
    ],
)
def test_what_is_no_plain_float_tensor_is_refused(value, says, tmp_path):
    torch.save({"f": value}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=says):
        rows(tmp_path / "a.pt", "f")


def test_integers_in_other_formats(tmp_path):
    save_file({"f": torch.arange(6)}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", f=np.arange(6))
    np.save(tmp_path / "a.npy", np.arange(6))
    for name, key in (("a.safetensors", "f"), ("a.npz", "f"), ("a.npy", "")):
        with pytest.raises(InputError, match="not floating point"):
            rows(tmp_path / name, key)


def test_missing_keys_are_listed(values, tmp_path):
    save_file({"feats": values, "other": values + 1}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="has no 'f'; it has 'feats', 'other'"):
        rows(tmp_path / "a.safetensors", "f")


def test_a_lone_tensor_is_refused(values, tmp_path):
    torch.save(values, tmp_path / "a.pt")
    with pytest.raises(InputError, match="holds a Tensor; save a dict of tensors"):
        rows(tmp_path / "a.pt", "f")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz", ".npy"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated_files(suffix, share, values, tmp_path):
    path = tmp_path / f"a{suffix}"
    given = values.repeat(5, 1, 1)
    if suffix == ".pt":
        torch.save({"f": given}, path)
    elif suffix == ".safetensors":
        save_file({"f": given}, path)
    elif suffix == ".npz":
        np.savez(path, f=given.numpy())
    else:
        np.save(path, given.numpy())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="damaged or cut short"):
        rows(path, "" if suffix == ".npy" else "f")


def test_missing_folder_empty_and_other_files(tmp_path):
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "dir.pt").mkdir()
    (tmp_path / "text.txt").write_text("x")
    for name, says in (
        ("no.pt", "does not exist"),
        ("dir.pt", "is a folder"),
        ("empty.pt", "is empty"),
        ("text.txt", "is none of .safetensors, .pt"),
    ):
        with pytest.raises(InputError, match=says):
            rows(Path(tmp_path / name), "f")
    with pytest.raises(InputError, match="features are not read from standard input; give a file"):
        rows(Path("-"), "f")

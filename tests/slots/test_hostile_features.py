"""Feature files that are written by hand to do harm: each is refused or read, and soon.

`pytest -m slow` also reads 300 files that are damaged at random.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from patchsim import InputError
from patchsim.slots import feature_readers
from patchsim.slots.feature_files import open_features, pick, read_rows

MB = 1_000_000

# The parts of a pickle; see pickletools.
DICT, SET, STOP, TUPLE2, TUPLE3 = b"}", b"s", b".", b"\x86", b"\x87"
ORDERED = b"ccollections\nOrderedDict\n)R"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value):
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def storage(count, key="0", kind="Float"):
    named = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu")
    return named + number(count) + b"tQ"


def tensor(count=6, offset=0, shape=(2, 3), strides=(3, 1), **of_storage):
    numbers = [b"(" + b"".join(map(number, sizes)) + b"t" for sizes in (shape, strides)]
    given = storage(count, **of_storage) + number(offset) + b"".join(numbers) + b"\x89" + ORDERED
    return REBUILD + b"(" + given + b"tR"


def holding(value, key=None):
    return b"\x80\x02" + DICT + (key or text("f")) + value + SET + STOP


def zipped(path, content, storages=None, **options):
    """Write an archive as torch lays it out."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("a/data.pkl", content)
        for key, values in ({"0": bytes(24)} if storages is None else storages).items():
            archive.writestr(f"a/data/{key}", values)
    return path


def rows(path, key="f", memory=MB):
    with open_features(path, memory) as found:
        stored = pick(found, (key,), path)
        return read_rows(stored, 0, stored.shape[0], path)


def nested(doublings):
    """A tuple of itself: 2**doublings texts, were it written out."""
    content = text("x") + b"q\x00"
    for i in range(doublings):
        content += bytes([ord("h"), i]) + TUPLE2 + bytes([ord("q"), i + 1])
    return content


def said(path, **options):
    with pytest.raises(InputError) as caught:
        rows(path, **options)
    message = str(caught.value)
    assert message.count("\n") <= 1
    assert len(message) < 700
    assert message.isprintable()
    return message


def test_the_files_of_these_tests_are_sound_but_for_their_harm(tmp_path):
    values = torch.arange(6, dtype=torch.float32).view(2, 3)
    path = zipped(tmp_path / "a.pt", holding(tensor()), {"0": values.numpy().tobytes()})
    assert torch.equal(rows(path), values)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_no_unpickler_takes_part(suffix, tmp_path, monkeypatch):
    values, path = torch.rand(2, 3), tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, f=values.numpy())
    else:
        save_file({"f": values}, path) if suffix != ".pt" else torch.save({"f": values}, path)

    def forbidden(*_arguments, **_options):
        raise AssertionError("an unpickler")

    monkeypatch.setattr(torch, "load", forbidden)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    assert torch.equal(rows(path), values)


@pytest.mark.parametrize("doublings", [20, 200])
def test_nested_tuples_are_neither_hashed_nor_printed(doublings, tmp_path):
    key = zipped(tmp_path / "key.pt", holding(tensor(), nested(doublings)))
    assert "a key of its dict is no text" in said(key)
    value = zipped(tmp_path / "value.pt", holding(nested(doublings)))
    assert "'f' is a tuple, not a tensor" in said(value)
    inner = DICT + nested(doublings) + b"N" + SET
    beside = b"\x80\x02" + DICT + text("f") + tensor() + SET + text("other") + inner + SET + STOP
    assert rows(zipped(tmp_path / "beside.pt", beside)).shape == (2, 3)


def test_a_list_that_holds_itself_is_a_list(tmp_path):
    path = zipped(tmp_path / "a.pt", holding(b"]q\x00h\x00a"))
    assert "is a list, not a tensor" in said(path)


@pytest.mark.parametrize(
    "value",
    [
        tensor() + text("x") + b"N" + SET,  # an item of a tensor
        b"]" + text("x") + b"N" + SET,  # of a list
        DICT + b"Na",  # appended to a dict
        tensor() + DICT + b"b",  # the state of a tensor
        b"ctorch\nSize\n" + DICT + b"b",  # of a class
        ORDERED + b"]b",  # a state that is no dict
        REBUILD + b")R",  # a tensor of nothing
        b"ctorch\nFloatStorage\n(" + number(1 << 40) + b"tR",
        b"ctorch\nfloat32\n)R",
        b"ctorch\nload\n",
        b"cos\nsystem\n(" + text("true") + b"tR",
        b"ccollections\nOrderedDict\n(" + b"]" + b"tR",
        text("storage") + b"Q",
        b"\x93",  # STACK_GLOBAL
        b"P0\n",  # a persistent id of protocol 0
        b"\x96" + struct.pack("<Q", 1 << 40),  # BYTEARRAY8
    ],
)
def test_instructions_that_torch_save_never_writes_are_refused(value, tmp_path):
    path = zipped(tmp_path / "a.pt", holding(value))
    assert "is refused: it holds more than plain tensors" in said(path)


@pytest.mark.parametrize(
    "value",
    [
        b"X\xff\xff\xff\x7f",  # a text longer than the pickle
        b"\x8a\xff\x01",
        b"h\x07",  # nothing was remembered
        b"t",  # no mark
        SET,
        b"ctorch\nFloat",
        tensor(shape=(-2, -3)),
        tensor(shape=(2, 3), strides=(3,)),
        tensor(shape=(1,) * 65, strides=(1,) * 65),
        tensor(offset=-1),
    ],
)
def test_pickles_that_ask_for_what_is_not_there_are_damaged(value, tmp_path):
    assert "is damaged or cut short" in said(zipped(tmp_path / "a.pt", holding(value)))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (tensor(count=1 << 40), "1,099,511,627,776 values in 24 bytes"),
        (tensor(count=5), "5 values in 24 bytes"),
        (tensor(kind="Double"), "6 values in 24 bytes"),
        (tensor(key="1"), "lacks the member 'data/1'"),
        (tensor(key="../data.pkl"), "lacks the member"),
        (tensor(offset=1), "reaches beyond its values"),
        (tensor(strides=(4, 1)), "reaches beyond its values"),
        (tensor(strides=(1 << 62, 1)), "reaches beyond its values"),
        (tensor(shape=(1 << 40, 1 << 40)), "but holds 24 bytes"),
    ],
)
def test_tensors_that_are_not_in_the_file(value, says, tmp_path):
    assert says in said(zipped(tmp_path / "a.pt", holding(value)))


def test_a_tar_that_begins_like_five_pickles_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.pt", "w") as archive:
        for name in ("N.N.N.N.N.", "storages", "tensors", "pickle"):
            content = pickle.dumps(1, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert "is refused: it is no zip archive" in said(tmp_path / "a.pt")


def test_other_layouts_of_zip_archives_are_refused(tmp_path):
    for names in (
        ["data.pkl"],
        ["a/data.pkl", "b/data.pkl"],
        ["a/b/data.pkl"],
        ["a/data.pkl", "data/0"],
        ["a/constants.pkl", "a/code/x.py"],
    ):
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            for name in names:
                archive.writestr(name, holding(tensor()))
        assert "it is not laid out as by torch.save" in said(tmp_path / "a.pt")


def test_an_archive_with_two_directories_is_refused(tmp_path):
    first = zipped(tmp_path / "1.pt", holding(tensor())).read_bytes()
    second = zipped(tmp_path / "2.pt", holding(tensor(count=1 << 30))).read_bytes()
    for content, says in (
        (first + second, "does not lie where its end says"),
        (b"PK" + first, "does not lie where its end says"),
        (first + b"x", "does not end like a zip archive"),
        (first[:-6] + bytes(4) + first[-2:], "does not lie where its end says"),
    ):
        (tmp_path / "a.pt").write_bytes(content)
        assert says in said(tmp_path / "a.pt")


def altered_directory(path, change):
    """Change the directory of an archive, entry by entry, and leave all else as it is."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    while content[at : at + 4] == b"PK\x01\x02":
        fields = list(struct.unpack_from("<4s6H3I5H2I", content, at))
        step = 46 + sum(fields[10:13])
        change(fields)
        struct.pack_into("<4s6H3I5H2I", content, at, *fields)
        at += step
    path.write_bytes(content)


METHOD, PACKED, SIZE, FLAGS, PLACE = 4, 8, 9, 3, 16


@pytest.mark.parametrize("name", ["a.pt", "a.npz"])
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        (PLACE, 0, "its members overlap"),
        (PLACE, 1, "does not begin where the file begins"),
        (PACKED, 1 << 30, "its members overlap"),
        (FLAGS, 1, "packed in a way"),
        (METHOD, 14, "packed in a way"),  # LZMA, whose dictionary may take 4 GB
    ],
)
def test_archives_whose_directory_lies_are_refused(name, field, value, says, tmp_path):
    path = tmp_path / name
    if name == "a.pt":
        zipped(path, holding(tensor()))
    else:
        np.savez(path, f=np.zeros((2, 3)), g=np.zeros(3))
    altered_directory(path, lambda fields: fields.__setitem__(field, value))
    assert says in said(path)


def test_members_that_say_they_are_larger_are_damaged(tmp_path):
    path = zipped(tmp_path / "a.pt", holding(tensor()))
    altered_directory(path, lambda fields: fields.__setitem__(SIZE, 1 << 31))
    assert "compressed inside" in said(path)
    np.savez(tmp_path / "a.npz", f=np.zeros((2, 3)))
    altered_directory(tmp_path / "a.npz", lambda fields: fields.__setitem__(SIZE, 1 << 31))
    assert "says [2, 3] of float64, 48 bytes, but holds" in said(tmp_path / "a.npz")


def test_two_members_of_one_name_are_refused(tmp_path):
    path = zipped(tmp_path / "a.pt", holding(tensor()))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data.pkl", holding(tensor(count=1 << 30)))
    assert "two of its members have one name" in said(path)


def many_safetensors(path, count):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"k{i}": empty for i in range(count)}, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def test_of_many_tensors_twenty_are_listed(tmp_path):
    listed = "it has 'k0', 'k1', 'k2', 'k3'"
    assert listed in said(many_safetensors(tmp_path / "a.safetensors", 20_000))
    assert "save fewer tensors" in said(many_safetensors(tmp_path / "b.safetensors", 300_000))
    pairs = b"".join(text(f"k{i}") + b"N" for i in range(70_000))
    content = b"\x80\x02" + DICT + b"(" + pairs + b"u" + STOP
    assert listed in said(zipped(tmp_path / "a.pt", content))


def test_of_an_npz_with_many_members_the_wanted_one_is_read(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.npy", b"")
        with archive.open("f.npy", "w") as member:
            np.save(member, np.ones((2, 3)))
        assert len(archive.namelist()) == 20_001
    assert rows(path, "f").sum() == 6
    assert said(path, key="0").endswith(
        "is damaged or cut short: it does not begin like a .npy; download or save it again"
    )
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}-.npy", b"")
    assert "save fewer arrays" in said(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz", ".npy"])
def test_a_file_that_becomes_shorter_while_it_is_read(suffix, tmp_path):
    path, values = tmp_path / f"a{suffix}", torch.rand(1000, 50, 8)
    if suffix == ".pt":
        torch.save({"": values}, path)
    elif suffix == ".safetensors":
        save_file({"": values}, path)
    elif suffix == ".npz":
        np.savez(path, **{"": values.numpy()})
    else:
        np.save(path, values.numpy())
    with open_features(path, 10 * MB) as found:
        stored = pick(found, ("",), path)
        assert suffix == ".npz" or torch.equal(read_rows(stored, 2, 4, path), values[2:4])
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(InputError, match="is damaged or cut short"):
            read_rows(stored, 900, 1000, path)


def test_floats_of_8_bits_are_floats_that_are_not_scored(tmp_path):
    values = torch.zeros(2, 3).to(torch.float8_e4m3fn)
    save_file({"f": values}, tmp_path / "a.safetensors")
    torch.save({"f": values}, tmp_path / "a.pt")
    assert "'f' is F8_E4M3, not floating point of 16 to 64 bits" in said(tmp_path / "a.safetensors")
    assert "'f' is torch.float8_e4m3fn, not floating point of 16" in said(tmp_path / "a.pt")


def test_version_3_of_npy(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=(3, 0))
    assert np.array_equal(rows(tmp_path / "a.npy", ""), values)


@pytest.mark.parametrize("shape", [(-2, -3), (1 << 70, 0), (1,) * 65])
def test_impossible_shapes(shape, tmp_path):
    header = json.dumps({"f": {"dtype": "F32", "shape": shape, "data_offsets": [0, 24]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    assert "has no possible shape" in said(path)
    with (tmp_path / "a.npy").open("wb") as file:
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, described)
        file.write(bytes(24))
    assert "is damaged or cut short" in said(tmp_path / "a.npy", key="")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"[" * 100_000,
        b'{"f": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 25]}}',
        b'{"f": {"dtype": "F32", "shape": [2, 3], "data_offsets": [-24, 0]}}',
        b'{"f": {"dtype": "F32", "shape": [2, 3], "data_offsets": [1, 25]}}',
        b'{"f": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 1e400]}}',
        b'{"f": {"dtype": "F32", "shape": "23", "data_offsets": [0, 24]}}',
        b'{"f": ' + b"9" * 10_000 + b"}",
        b'{"f": null}',
        b"\xff\xfe",
    ],
)
def test_damaged_headers_of_safetensors(header, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    assert "is damaged or cut short" in said(path)


def test_texts_from_files_are_cut_and_their_controls_escaped(tmp_path):
    harm = "\x1b]0;owned\x07\u202e" + "x" * 500_000
    entry = {"dtype": harm, "shape": [2, 3], "data_offsets": [0, 24]}
    header = json.dumps({"f": entry, harm: entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    assert "is \\x1b]0;owned" in said(path)
    assert "\\x1b]0;owned" in said(path, key="g")
    content = b"\x80\x02" + DICT + text(harm) + b"N" + SET + STOP
    assert "\\x1b]0;owned" in said(zipped(tmp_path / "a.pt", content))
    content = holding(tensor(key=harm))
    assert "lacks the member" in said(zipped(tmp_path / "b.pt", content))


@pytest.mark.parametrize("error", [MemoryError(), ImportError("No module named 'torch'")])
def test_a_fault_of_the_machine_is_no_damage_of_the_file(error, tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))

    def fail(*_arguments):
        raise error

    monkeypatch.setattr(feature_readers.npy, "read_header", fail)
    with pytest.raises(type(error)):
        rows(tmp_path / "a.npy", "")


def sound_files(folder):
    values = torch.rand(4, 3, 8)
    beside = {"step": 3, "model": torch.nn.Linear(2, 2).state_dict(), "half": values.half()}
    torch.save({"f": values, "p": torch.nn.Parameter(values), **beside}, folder / "a.pt")
    save_file({"f": values, "p": values + 1}, folder / "a.safetensors")
    np.savez(folder / "a.npz", f=values.numpy(), p=values.numpy())
    np.savez_compressed(folder / "b.npz", f=values.numpy(), p=values.numpy())
    np.save(folder / "a.npy", values.numpy())
    return sorted(folder.iterdir())


def mutated(content, rng):
    """Damage a file at one to four places, most of them where the lengths and places stand."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content))
        match rng.randrange(6):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                size = rng.choice((2, 4, 8))
                content[at : at + size] = b"\xff" * (size - 1) + rng.choice((b"\x7f", b"\xff"))
            case 3:
                del content[at : at + rng.randint(1, 64)]
            case 4:
                content[at:at] = content[at : at + rng.randint(1, 64)]
            case 5:
                other = rng.randrange(len(content))
                content[at : at + 8] = content[other : other + 8]
        if not content:
            break
    return bytes(content)


@pytest.mark.slow
def test_300_damaged_files_are_read_or_refused(tmp_path, run):
    """As the command reads them: exit 0 with a finite loss, or 2 with one or two lines."""
    rng = random.Random(16)
    sound = sound_files(tmp_path)
    codes = []
    for i in range(300):
        source = sound[i % len(sound)]
        path = tmp_path / f"mutated{source.suffix}"
        path.write_bytes(mutated(source.read_bytes(), rng))
        given = ("--f", path, "--p", sound[1]) if source.suffix == ".npy" else (path,)
        code, out, err = run("loss", *given, "--memory", "100MB")
        assert code in (0, 2), (i, err)
        assert code == 2 or (out and "nan" not in out), i
        assert "damaged" in err or "refused" in err or code == 0 or err.startswith("patchsim: "), i
        assert err.count("\n") <= 2, (i, err)
        assert err.replace("\n", "").isprintable(), (i, err)
        codes.append(code)
    assert 0 in codes
    assert codes.count(2) > 100

"""Finds out what this installation can do, and which packages would add to it."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from PIL import features

import patchsim
from patchsim import choices, engines
from patchsim.errors import InputError, printable
from patchsim.machine import devices, extensions, memory


class Extra(NamedTuple):
    """Packages that are not required, and what they bring."""

    packages: tuple[str, ...]
    brings: str


EXTRAS = {
    "tiff": Extra(
        ("tifffile", "imagecodecs"), "reads all TIFFs, colour beyond 8 bits, JPEG XL, HDR"
    ),
    "big": Extra(("pyvips",), "reads PNG and JPEG larger than memory"),
    "zarr": Extra(("zarr",), "reads Zarr and OME-Zarr, writes maps as Zarr"),
    "slide": Extra(("openslide-python", "openslide-bin"), "reads MIRAX and VMS"),
    "heif": Extra(("pi-heif",), "reads HEIC, the photographs of phones"),
    "dicom": Extra(("pydicom", "imagecodecs"), "reads DICOM, medical pictures"),
    "fits": Extra(("astropy",), "reads FITS, the pictures of astronomy"),
    "exr": Extra(("OpenEXR",), "reads OpenEXR, floats of computer graphics"),
    "remote": Extra(("fsspec",), "reads pictures behind URLs"),
    "cluster": Extra(("distributed",), "--cluster, many machines by Dask"),
    "preview": Extra(("textual-image",), "--preview in kitty, iTerm2, by sixels"),
    "plot": Extra(("matplotlib",), "report.plot(), a figure in Python"),
}
_ALWAYS = ("PNG", "JPEG", "GIF", "BMP", "ICO", "QOI", "TGA", "PCX", "PNM", "PFM", "SGI", ".npy")
# Formats that a build of Pillow may lack, with the name of its feature.
_BY_PILLOW = {"WebP": "webp", "AVIF": "avif", "JPEG 2000": "jpg_2000", "TIFF": "libtiff"}
_PACKAGES = ("numpy", "scipy", "pillow", "torch")
_EXTENSIONS = (
    ("_sad", "engines"),
    ("_correlation", "engines"),
    ("_pruned", "engines"),
    ("_moments", "engines"),
    ("_windows", "metrics"),
    ("_poses", "registration"),
)


def diagnosis() -> dict[str, Any]:
    """Return what `patchsim doctor --json` prints; imports torch, which takes seconds.

    Returns
    -------
    dict
        ``patchsim``, ``python``, ``platform``, ``processor`` : str; ``cpus`` : int, those that this
        process may use; ``memory_available``, ``memory_limit`` : int, bytes, the second is what a
        search takes by default; ``packages``, ``extensions``, ``devices``, ``engines``, ``formats``
        and ``extras`` : lists of objects; ``problems`` : list of str, empty if nothing is broken.
    """
    device_names, broken = _devices()
    compiled = [_extension(name, room) for name, room in _EXTENSIONS]
    problems = [f"{one['name']}: {one['reason']}" for one in compiled if one["reason"]]
    if compiled[0]["loaded"]:
        try:
            extensions.variant(_EXTENSIONS[0][0])
        except InputError as error:  # a variant of the vector instructions that is not here
            problems.append(str(error))
    return {
        "patchsim": patchsim.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": devices.cpu_count(),
        "memory_available": memory.available(),
        "memory_limit": memory.default_limit(),
        "packages": [{"name": name, "version": _version(name)} for name in _PACKAGES],
        "extensions": compiled,
        "devices": device_names,
        "engines": [_engine(name, device_names) for name in choices.ENGINES if name != "auto"],
        "formats": _formats(),
        "extras": [_extra(name, extra) for name, extra in EXTRAS.items()],
        "problems": ([broken] if broken else []) + problems,
    }


def _devices() -> tuple[list[str], str | None]:
    """Return the devices, and why those beside the CPU are not known."""
    try:
        return ["cpu", *devices.accelerators()], None
    except (ImportError, OSError, RuntimeError) as error:
        line = printable(str(error).partition("\n")[0])
        return ["cpu"], f"torch cannot be loaded: {line}"


def _extension(name: str, room: str) -> dict[str, Any]:
    """Describe a C extension: the vector instructions that it uses, or why it is not there."""
    built = extensions.extension(name, room)
    variants = built.variants() if built is not None and hasattr(built, "variants") else []
    return {
        "name": f"{room}.{name}",
        "loaded": built is not None,
        "instructions": variants[0] if variants else None,
        "reason": None if built is not None else extensions.refusal(name, room),
    }


def _engine(name: str, device_names: list[str]) -> dict[str, Any]:
    """Describe an engine: the metrics that it computes of a small picture of bytes, or why none."""
    engine = engines.load(name)
    device = next((one for one in device_names if name == "cuda" and one.startswith("cuda")), "cpu")
    scored, reason = [], None
    for metric in choices.METRICS:
        problem = engines.Problem(
            (128, 128, 3),
            (16, 16, 3),
            "uint8",
            (1, 1),
            metric,
            255.0,
            device,
            1,
            tolerance=0.02,
            map_wanted=engine.HAS_MAP,
        )
        try:
            refused = engine.refuse(problem)
        except InputError as error:
            refused = str(error)
        if refused is None:
            scored.append(metric)
        reason = reason or refused
    return {"name": name, "metrics": scored, "reason": None if scored else reason}


def _formats() -> list[dict[str, Any]]:
    by_pillow = [(name, bool(features.check(feature))) for name, feature in _BY_PILLOW.items()]
    known = [*((name, True) for name in _ALWAYS), *by_pillow]
    return [{"name": name, "read": is_read} for name, is_read in known]


def _extra(name: str, extra: Extra) -> dict[str, Any]:
    versions = {package: _version(package) for package in extra.packages}
    missing = [package for package, version in versions.items() if version is None]
    return {
        "name": name,
        "brings": extra.brings,
        "packages": versions,
        "install": f"pip install {' '.join(missing)}" if missing else None,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return printable(line.partition(":")[2].strip())
    return platform.processor() or platform.machine()

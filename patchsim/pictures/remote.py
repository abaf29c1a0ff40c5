"""Pictures behind URLs, such as https: and s3:, by the package fsspec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from patchsim.errors import InputError, printable

_URL = r"[A-Za-z][A-Za-z0-9+.-]+://"
_PATTERN = r"[*?\[]"
_WEB = ("http", "https")  # where a question mark begins a query, and nothing can be listed


def is_url(name: str) -> bool:
    """Return whether the name of a picture is a URL."""
    return "://" in name and re.match(_URL, name) is not None


def read(url: str, memory: int | None) -> BytesIO:
    """Read the bytes behind a URL.

    Raises
    ------
    InputError
        If they cannot be read, are more than the memory, or a package lacks.
    """
    from patchsim.pictures import piped  # as this function is used

    fs, path = _opened(url)
    try:
        with fs.open(path, "rb") as file:
            content = piped.read_whole(file, printable(url), memory)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each file system raises its own
        raise _unreadable(url, error) from error
    if not content.getbuffer().nbytes:
        raise InputError(f"{printable(url)} is empty (0 bytes)")
    return content


def listed(url: str) -> Iterator[str]:
    """Yield the URLs that a URL stands for: those in a folder, which ends with /, or of a pattern.

    Raises
    ------
    InputError
        If there are none, or they cannot be listed.
    """
    is_folder = url.endswith("/")
    if url.partition("://")[0].lower() in _WEB or not (is_folder or re.search(_PATTERN, url)):
        yield url
        return
    fs, path = _opened(url)
    try:
        names = sorted(fs.find(path) if is_folder else fs.glob(path))
    except Exception as error:  # each file system raises its own
        raise _unreadable(url, error) from error
    if not names:
        raise InputError(f"{printable(url)} names no file; give the URLs of pictures")
    for name in names:
        yield fs.unstrip_protocol(name)


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and its path there."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise InputError(
            f"{printable(url)} is a URL, which needs fsspec: pip install 'patchsim-match[remote]'"
        ) from None
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:  # whose text names the package of the protocol
        kind = url.partition("://")[0].lower()
        package = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs"}.get(kind)
        more = f": pip install {package}" if package else f": {printable(error)}"
        raise InputError(f"{printable(url)} needs one more package{more}") from error
    except Exception as error:  # each file system raises its own
        raise _unreadable(url, error) from error
    return fs, path


def _unreadable(url: str, error: Exception) -> InputError:
    reason = "there is no such file" if isinstance(error, FileNotFoundError) else printable(error)
    return InputError(f"{printable(url)} cannot be read: {reason or type(error).__name__}")

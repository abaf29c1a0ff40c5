"""Complaints of libtiff about the rows of a fax, which Pillow reads without a word."""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import BinaryIO

from patchsim.pictures import tiff_directory
from patchsim.pictures.limits import Limits

_ABOUT_ROWS = re.compile(r"at line \d+ of (strip|tile)")  # not about tags
_WITH_WARNINGS = 2  # imagecodecs' level of what it logs


def complaints(stream: BinaryIO, limits: Limits, page: tiff_directory.Page) -> list[str]:
    """Return what libtiff says of the rows of a page, if imagecodecs and memory are there.

    imagecodecs gives libtiff's messages to the logger of its name.
    """
    messages = _Messages()
    log = logging.getLogger("imagecodecs")
    try:
        import imagecodecs

        size = stream.seek(0, os.SEEK_END)
        limits.check_memory(size + 2 * tiff_directory.pixel_count(page.tags))
        stream.seek(0)
        log.addHandler(messages)
        imagecodecs.tiff_decode(stream.read(), index=page.number, verbose=_WITH_WARNINGS)
    except Exception:  # Pillow read the picture, so that nothing here may stop it
        pass
    finally:
        log.removeHandler(messages)
    return [text.rstrip(".") for text in messages.texts if _ABOUT_ROWS.search(text)]


class _Messages(logging.Handler):
    """Keeps the messages that the thread which made it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())

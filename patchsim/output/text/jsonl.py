"""One JSON object a line for each result."""

from __future__ import annotations

import json
from typing import TextIO

from patchsim.output import names
from patchsim.output.contract import Records

CAN_APPEND = True


def write(records: Records, file: TextIO, *, is_first: bool) -> None:  # noqa: ARG001 - as `TextExporter` has it
    for one in records.objects():
        print(json.dumps(names.in_unicode(one)), file=file)

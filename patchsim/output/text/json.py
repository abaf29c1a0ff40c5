"""One JSON document."""

from __future__ import annotations

import json
from typing import TextIO

from patchsim.output import names
from patchsim.output.contract import Records

CAN_APPEND = False


def write(records: Records, file: TextIO, *, is_first: bool) -> None:  # noqa: ARG001 - as `TextExporter` has it
    print(json.dumps(names.in_unicode(records.document()), indent=2), file=file)

"""What a pickle would make, seen before it is made."""

from __future__ import annotations

import pickletools
import re
from typing import IO

from patchsim.errors import InputError

# A structure of tensors is far smaller; a dozen times this may be taken by unpickling it.
_LARGEST_PICKLE = 1_000_000

# The format before torch 1.6: a magic number, a version, the system, the object, its storages.
BEFORE_TORCH_1_6 = 5

# What may make something else than the plain types of pickle, and the names that it may be.
_OPCODES_OF_CODE = {
    "GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD",
    "EXT1", "EXT2", "EXT4", "BYTEARRAY8",
}  # fmt: skip
_HARMLESS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
_OF_TORCH = re.compile(r"torch (?:\w+Storage|Size|device|bfloat16|bool|(?:u?int|float)\d+)")


def check(file: IO[bytes], where: str) -> None:
    """See that a pickle makes nothing but dicts, lists, numbers, texts and tensors.

    ``weights_only=True`` runs no foreign code, but it makes what it is asked for: byte arrays and
    tensors of any size, that are nowhere in the file.
    """
    start = file.tell()
    for code, argument, _ in pickletools.genops(file):
        known = code.name not in _OPCODES_OF_CODE or (
            code.name == "GLOBAL"
            and (argument in _HARMLESS or _OF_TORCH.fullmatch(str(argument)) is not None)
        )
        if not known and code.name not in ("REDUCE", "BUILD"):
            raise refused(where)
        if file.tell() - start > _LARGEST_PICKLE:
            raise InputError(
                f"{where} has a pickle of more than {_LARGEST_PICKLE:,} bytes;"
                " save a dict of tensors"
            )


def refused(where: str) -> InputError:
    return InputError(
        f"{where} is refused: it holds more than plain tensors and could run code;"
        " save a dict of tensors, best as .safetensors"
    )

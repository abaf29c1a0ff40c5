"""A check of pickles before they are read: their instructions may make plain tensors only."""

from __future__ import annotations

import pickletools
import re
from typing import IO

from patchsim.errors import InputError

# Bytes. A structure of tensors is far smaller; to unpickle it may take a dozen times its size.
_LARGEST_PICKLE = 1_000_000

# Pickles in a file of the format before torch 1.6: a magic number, a version, the system, the
# object, its storages.
BEFORE_TORCH_1_6 = 5

# Instructions that may make other objects than the plain types of pickle.
_OPCODES_OF_CODE = {
    "GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD",
    "EXT1", "EXT2", "EXT4", "BYTEARRAY8",
}  # fmt: skip
# Names of the objects that they may make.
_HARMLESS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
_OF_TORCH = re.compile(r"torch (?:\w+Storage|Size|device|bfloat16|bool|(?:u?int|float)\d+)")


def check(file: IO[bytes], where: str) -> None:
    """Refuse a pickle that makes more than dicts, lists, numbers, texts and tensors.

    ``weights_only=True`` runs no foreign code, but it would make byte arrays and tensors of any
    size that the pickle names, although their contents are not in the file.

    Raises
    ------
    InputError
        If the pickle makes other objects or is too large.
    """
    start = file.tell()
    for code, argument, _ in pickletools.genops(file):
        is_known = code.name not in _OPCODES_OF_CODE or (
            code.name == "GLOBAL"
            and (argument in _HARMLESS or _OF_TORCH.fullmatch(str(argument)) is not None)
        )
        if not is_known and code.name not in ("REDUCE", "BUILD"):
            raise refused(where)
        if file.tell() - start > _LARGEST_PICKLE:
            raise InputError(
                f"{where} has a pickle of more than {_LARGEST_PICKLE:,} bytes;"
                " save a dict of tensors"
            )


def refused(where: str) -> InputError:
    """Return the error for a file that could run code."""
    return InputError(
        f"{where} is refused: it holds more than plain tensors and could run code;"
        " save a dict of tensors, best as .safetensors"
    )

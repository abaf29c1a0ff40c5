"""How files and arrays become pixels: which formats, which depths, within which memory.

It may use `files`, `metrics` and the rooms below them. Other rooms use `reader.open_picture`
and `reader.Picture`; the command turns on `decoder_lines`. Each other module reads one kind of file
or limits how much may be decoded.
"""

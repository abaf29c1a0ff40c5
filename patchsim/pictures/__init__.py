"""From files and arrays to pixels: which formats, how deep, in which memory.

It may use `files`, `metrics` and what lies below. Others use `reader.open_picture` and
`reader.Picture`; the other modules each read one kind of file or say how much may be decoded.
"""

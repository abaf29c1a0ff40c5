"""How files are written as a whole or not at all, and how untrusted headers are read.

It may use `machine` and the rooms below it. Other rooms use `atomic`, which writes files, and
`npy`, which reads the header of a .npy stream.
"""

"""How files appear and how untrusted headers are read.

It may use `machine` and what lies below. Others use `atomic`, by which a file appears whole or not
at all, and `npy`, which reads the header of a .npy stream.
"""

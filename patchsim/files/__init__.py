"""How files are written as a whole or not at all, and how untrusted headers are read.

It may use `machine` and the rooms below it. Other rooms use `atomic`, which checks and writes files
(`replacement` makes regular ones, `direct` opens devices and pipes), and `npy`, which reads the
header of a .npy stream.
"""

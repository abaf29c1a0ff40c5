"""How files are written as a whole or not at all, appended to, and told apart.

It may use `machine` and the rooms below it. Other rooms use `atomic`, which checks and writes files
(`replacement` makes regular ones, `direct` opens devices and pipes), `appended`, a file that a
process can go on with after a kill, `stamps` and `fingerprints`, which tell whether a file or a
search is still the same, `npy`, which reads the untrusted header of a .npy stream, and `waits`,
which tells the command of pipes that are waited for.
"""

"""A plan run on this machine: on threads, on devices, within their memory.

It may use `planning` and what lies below. Others use `runner`, which gives the scores of tiles in
order; `streams` assigns tiles to devices, and `oom` splits tiles that do not fit their memory.
"""

"""Code that several engines share.

It uses `contract` and `tile_cache` of `engines`, and what lies below. Engines use `sharing`, which
scores one kernel alone, and `visibility`, which scores images with hidden pixels; `execution` uses
the latter.
"""

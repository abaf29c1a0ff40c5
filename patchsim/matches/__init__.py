"""From windows, best first, to matches: which do not overlap, which are good enough, where exactly.

It may use `ranking` and what lies below. Others use `nms.BestFirst`, `selection.select`,
`auto_threshold` and `registration.locate`.
"""

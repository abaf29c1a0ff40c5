"""From windows or poses, best first, to matches: which are apart, which are good enough, where.

It may use `registration`, `ranking` and what lies below. Others use `nms.BestFirst`,
`selection.select`, `pose_selection` (`Candidate`, `select`), `auto_threshold` and
`subpixel_fit.locate`.
"""

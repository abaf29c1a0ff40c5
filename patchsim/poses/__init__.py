"""Which poses of a kernel are searched for, and how the kernel looks in them.

It may use `pictures`, `checks` and the rooms below them. Other rooms use `grid.Poses` (the scales,
angles and flips of the options), `pose` (`Pose`, `Frame`) and `warp` (`PoseRenderer`: mirrored,
scaled and turned copies).
"""

"""The poses of a kernel: those asked for, and the copies made for them.

It may use `pictures`, `checks` and what lies below. Others use `grid.Poses` (scales, angles and
flips as asked for) and `warp` (`Pose`, `PoseRenderer`: mirrored, scaled and turned copies).
"""

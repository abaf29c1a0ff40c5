"""At which place and pose, between the pixels, a kernel lies, and how well it matches there.

It may use `poses`, `metrics`, `numerics`, `machine` and `geometry`. Others use the names here:
`Fitted` (a place and pose with its score), `score` (what the score of a pose is) and `compared`
(the pixels it is of), and `PoseSearch`
with `Range` (which finds the best poses in a picture; `first_look_bytes` is the least memory that
it takes beside its pictures, and with `BAND_BYTES` for each thread it is fast; `KernelPlanes` are
a kernel's levels). `SPACING` is how
far a corner moves between poses that the search tells apart at its first level.
"""

from patchsim.registration.first_look import BAND_BYTES, SPACING
from patchsim.registration.fitted import Fitted
from patchsim.registration.planes import KernelPlanes
from patchsim.registration.pose_search import PoseSearch, Range, first_look_bytes
from patchsim.registration.scores import compared, score

__all__ = [
    "BAND_BYTES",
    "SPACING",
    "Fitted",
    "KernelPlanes",
    "PoseSearch",
    "Range",
    "compared",
    "first_look_bytes",
    "score",
]

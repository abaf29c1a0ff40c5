"""At which place and pose, between the pixels, a kernel lies, and how well it matches there.

It may use `poses`, `metrics`, `numerics`, `machine` and `geometry`. Others use the names here:
`Fitted` (a place and pose with its score), `score` (what the score of a pose is), and `PoseSearch`
with `Range` (which finds the best poses in a picture, in `least_band_bytes` to `BAND_BYTES` of
memory a thread beside its pictures).
"""

from patchsim.registration.first_look import BAND_BYTES, least_band_bytes
from patchsim.registration.fitted import Fitted
from patchsim.registration.pose_search import PoseSearch, Range
from patchsim.registration.scores import score

__all__ = ["BAND_BYTES", "Fitted", "PoseSearch", "Range", "least_band_bytes", "score"]

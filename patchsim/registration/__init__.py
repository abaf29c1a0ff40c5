"""At which place and pose, between the pixels, a kernel lies, and how well it matches there.

It may use `poses`, `metrics`, `numerics`, `machine` and `geometry`. Others use the names here:
`Fitted` (a place and pose with its score), `score` (what the score of a pose is), and `PoseSearch`
with `Range` (which finds the best poses in a picture).
"""

from patchsim.registration.fitted import Fitted
from patchsim.registration.pose_search import PoseSearch, Range
from patchsim.registration.scores import score

__all__ = ["Fitted", "PoseSearch", "Range", "score"]

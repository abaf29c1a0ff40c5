"""Two coins cut out of a photograph find the others, without a threshold to choose.

Needs scikit-image, whose photograph it is. Writes coins.png, two kernels and found.png.
"""

import skimage.data
from PIL import Image

import patchsim

coins = skimage.data.coins()
Image.fromarray(coins).save("coins.png")
# A small coin and a large one: x, y of the top-left pixel, width, height.
for name, (x, y, width, height) in {
    "small.png": (130, 104, 48, 48),
    "large.png": (141, 230, 64, 64),
}.items():
    Image.fromarray(coins[y : y + height, x : x + width]).save(name)

report = patchsim.match(
    "coins.png", ["small.png", "large.png"], metric="zncc", threshold="auto", overlay="found.png"
)
print(report.notices[-1])
for match in report.matches:
    x, y = match.center
    print(f"coin at {x:g},{y:g} like {match.kernel}: {match.score:.3f}, margin {match.margin:.3f}")

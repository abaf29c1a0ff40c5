"""Where to click: the centre of an icon on a screenshot, from Python."""

from pathlib import Path

import patchsim

HERE = Path(__file__).parent

report = patchsim.match(HERE / "desktop.png", HERE / "folder.png", threshold=0.95)
for match in report.matches:
    x, y = match.center
    print(f"folder at {x:g},{y:g} with similarity {match.score:.3f}")

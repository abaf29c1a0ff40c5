"""Learn the kernel that is found in one picture and not in another, through `similarity_map`.

A convolution answers most to what is bright; this layer answers most to what is the same.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import patchsim

HERE = Path(__file__).parent


def tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255  # [C, H, W]


desktop = Image.open(HERE / "desktop.png")
with_folder = tensor(desktop.crop((80, 100, 140, 150)))
with_letter = tensor(desktop.crop((288, 100, 348, 150)))

kernel = torch.full((3, 36, 36), 0.5, requires_grad=True)
optimizer = torch.optim.Adam([kernel], lr=0.03)
for step in range(61):
    found = patchsim.similarity_map(with_folder, kernel).amax()
    elsewhere = patchsim.similarity_map(with_letter, kernel).amax()
    loss = elsewhere - 2 * found
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: folder {found.item():.3f}, letter {elsewhere.item():.3f}")

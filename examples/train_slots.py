"""Train a small slot encoder on two views of photographs, and save its features on the way.

    python examples/train_slots.py run
    patchsim loss run/step-*.safetensors | cut -f1,5
    patchsim loss run/step-0200.safetensors --matches matches.png --image 0

Takes about a minute on a CPU. Needs scikit-image, for its photographs.
"""

import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import patchsim

IMAGES, SLOTS, CHANNELS, SIDE = 16, 4, 32, 48
NAMES = ("astronaut", "coffee", "chelsea", "rocket")


def photographs() -> list[Tensor]:
    """[3, H, W] in 0 to 1."""
    pictures = [getattr(skimage.data, name)() for name in NAMES]
    return [torch.from_numpy(np.array(p)).permute(2, 0, 1).float() / 255 for p in pictures]


def two_views(photos: list[Tensor], generator: torch.Generator) -> Tensor:
    """Two shifted, mirrored, brightened crops each of IMAGES places: [2B, 3, SIDE, SIDE]."""

    def random(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    pairs = []
    for number in range(IMAGES):
        photo = photos[number % len(photos)]
        y, x = (random(8, side - 2 * SIDE - 8) for side in photo.shape[1:])
        views = []
        for _ in range(2):
            top, left = y + random(-8, 9), x + random(-8, 9)
            crop = photo[:, top : top + 2 * SIDE : 2, left : left + 2 * SIDE : 2]
            crop = crop.flip(2) if random(0, 2) else crop
            gain = 0.8 + 0.4 * torch.rand(3, 1, 1, generator=generator)
            views.append((crop * gain).clamp(0, 1))
        pairs.append(torch.stack(views))
    # [B, 2, 3, SIDE, SIDE] -> first all first views, then all second.
    return torch.stack(pairs).transpose(0, 1).flatten(0, 1)


class SlotEncoder(nn.Module):
    """Slots compete for the places of a picture; each slot is the mean of what it won."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 48, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(48, CHANNELS, 3, 1, 1),
        )  # fmt: skip
        self.queries = nn.Parameter(torch.randn(SLOTS, CHANNELS))
        self.head = nn.Sequential(nn.Linear(CHANNELS, 64), nn.ReLU(), nn.Linear(64, CHANNELS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Slots before and after the projection, [2B, S, C] each."""
        places = self.body(pictures).flatten(2).mT  # [2B, places, C]
        share = (places @ self.queries.T / CHANNELS**0.5).softmax(-1)
        slots = share.mT @ places / share.sum(1)[..., None]
        return slots, self.head(slots)


def main(folder: Path, steps: int) -> None:
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    photos = photographs()
    generator = torch.Generator().manual_seed(1)
    fixed = two_views(photos, torch.Generator().manual_seed(2))
    encoder = SlotEncoder()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=2e-3)
    for step in range(steps + 1):
        if step % 25 == 0:
            with torch.no_grad():
                f, p = encoder(fixed)
            path = folder / f"step-{step:04}.safetensors"
            save_file({"f": f, "p": p, "slots": f.clone()}, path)
            loss = patchsim.matching_similarity_loss_per_img(f, p).item()
            print(f"step {step}: similarity loss {loss:.4f}, saved {path.name}", flush=True)
        f, p = encoder(two_views(photos, generator))
        # The contrastive loss keeps slots apart; alone, similarity is best when all are one.
        loss = patchsim.matching_similarity_loss_per_img(f, p)
        loss = loss + 0.2 * patchsim.matching_contrastive_loss(f, temperature=0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "run"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 200,
    )

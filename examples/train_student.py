"""Train a small segmentation network on a `voc` export.

    python examples/train_student.py labels/voc --epochs 20 --out student.pt

Open pixels (255) count for nothing, as in every export that keeps them. Judge a student on masks that people drew.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms.v2.functional import horizontal_flip, pil_to_tensor, resize

MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class VocExport(Dataset):
    """Photos and masks of one part of an export, as squares."""

    def __init__(self, root: Path, part: str, side: int, *, flip: bool) -> None:
        listed = root / "ImageSets" / "Segmentation" / f"{part}.txt"
        self.names = listed.read_text("utf-8").splitlines() if listed.exists() else []
        self.root, self.side, self.flip = root, side, flip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        name, size = self.names[at], [self.side, self.side]
        photo = resize(pil_to_tensor(Image.open(self.root / "JPEGImages" / f"{name}.jpg").convert("RGB")), size)
        mask = Image.open(self.root / "SegmentationClass" / f"{name}.png").resize(size, Image.Resampling.NEAREST)
        photo, target = (photo / 255 - MEAN) / STD, torch.from_numpy(np.array(mask, np.int64))
        return (horizontal_flip(photo), target.flip(1)) if self.flip and torch.rand(()) < 0.5 else (photo, target)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("export", type=Path)
parser.add_argument("--out", type=Path, default=Path("student.pt"))
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--side", type=int, default=224)
asked = parser.parse_args()
classes = 1 + max(int(line.split("\t")[0]) for line in (asked.export / "labels.txt").read_text("utf-8").splitlines())
network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
photos = DataLoader(VocExport(asked.export, "train", asked.side, flip=True), batch_size=8, shuffle=True)
for epoch in range(asked.epochs):
    for images, targets in photos:
        network.train(len(images) > 1)  # the statistics of one photo are no batch's
        loss = cross_entropy(network(images)["out"], targets, ignore_index=255)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")
torch.save(network.state_dict(), asked.out)

"""Labels that cost little, and pixels to label."""

from types import SimpleNamespace

import cv2
import numpy as np
from PIL import Image

from toco.model.crf.backend import CrfBackend
from toco.model.options import preset_options

# One small scale in float32, no CRF: what most tests need.
QUICK_CHANGES = {"refine": "none", "precision": "float32"}
QUICK = preset_options("fast", **QUICK_CHANGES, cam={"size": 64})


def pixels(height=40, width=56, seed=0):
    """Smooth noise, so that shrinking changes little: (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def saved(folder, image, suffix="png", **options):
    path = folder / f"photo.{suffix}"
    Image.fromarray(image).save(path, **options) if isinstance(image, np.ndarray) else image.save(path, **options)
    return path


def results(labeler, requests, options=QUICK):
    return [result for _, result in labeler.label(requests, options)]


def sized(side):
    return preset_options("fast", **QUICK_CHANGES, cam={"size": side})


class CrfRecorder(CrfBackend):
    """A CRF that changes nothing and notes the settings that it is asked with."""

    def __init__(self):
        self.seen = []

    def prepare(self, image, settings):
        self.seen.append(settings)
        return SimpleNamespace(infer=lambda probabilities: probabilities)


def same(one, other):
    return (
        one.tags == other.tags
        and np.array_equal(one.pseudo_mask, other.pseudo_mask)
        and np.allclose(one.cams, other.cams, atol=1e-5)
    )

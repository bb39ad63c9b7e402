"""Synthetic labels: a disc with a hole, a square at the border, a speck and an ignored band."""

import io

import numpy as np
import pytest
from PIL import Image

from toco.model.formats.artifacts import RESULT, encode_artifacts, encode_result
from toco.model.formats.item import LabelledItem
from toco.model.formats.result import result_of
from toco.model.method.label import Label
from toco.model.options import preset_options
from toco.model.photos.classes import IGNORE, VOC
from toco.model.photos.images import DecodedImage
from toco.model.photos.understanding import UnderstoodTag
from toco.model.spec import BackboneSpec, ModelSpec

OPTIONS = preset_options("fast")
SPEC = ModelSpec(name="tiny", backbone=BackboneSpec(name="vit"), classes=VOC.classes, weights_sha256="0123")
CAT, PERSON = 8, 15


def draw_label(
    height=90, width=120, *, tags=("cat", "person"), segmentation=True, working_size=None, kind="", turned=False
):
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height * 0.45, x - width * 0.35)
    mask = np.zeros((height, width), np.uint8)
    mask[distance < height * 0.36] = IGNORE
    mask[distance < height * 0.32] = CAT
    mask[distance < height * 0.1] = 0
    mask[height // 2 :, width * 3 // 4 :] = PERSON
    mask[2, width - 3] = PERSON
    low, narrow = working_size or (height, width)
    ramp = np.linspace(0, 1, low * narrow, dtype=np.float32).reshape(low, narrow)
    return Label(
        vocabulary=VOC,
        tags=tags,
        tag_source="user",
        words=(UnderstoodTag(written="unicorn", understood=None, why="unknown"),),
        cams=np.stack([ramp**power for power in range(1, len(tags) + 1)]) if tags else ramp[None][:0],
        pseudo_mask=mask if tags else np.zeros_like(mask),
        segmentation=np.where(mask == IGNORE, np.uint8(CAT), mask) if segmentation else None,
        tag_probabilities=np.linspace(0.9, 0.6, len(tags), dtype=np.float32),
        photo=DecodedImage(np.full((low, narrow, 3), 90, np.uint8), (height, width), kind, turned),
        options=SPEC.completed(OPTIONS),
        timings={"network": 0.25, "refine": 0.5},
    )


def encode_label(label=None, **settings):
    label = label or draw_label()
    result = result_of(label, SPEC, OPTIONS)
    return encode_artifacts(label, **settings) | {RESULT: encode_result(result)}


def draw_photo(height=90, width=120, kind="JPEG", **settings):
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture
def make_label():
    return draw_label


@pytest.fixture
def make_photo():
    return draw_photo


@pytest.fixture
def encode():
    """Encode a label as all its artifacts."""
    return encode_label


@pytest.fixture
def make_item():
    """An item that went through its artifacts, as exports see it."""

    def make(name="cat.jpg", *, photo=None, outputs=("cam", "pseudo_mask", "segmentation"), **settings):
        label = draw_label(**settings)
        content = draw_photo(*label.size) if photo is None else photo
        return LabelledItem(name, encode_label(label, outputs=outputs).get, load_image=lambda: content)

    return make


@pytest.fixture
def vocabulary():
    return VOC

"""What labelling a photo costs, estimated before any work: memory at the peak, and seconds of one processor core.

The formulas count what the stages hold and multiply: tokens of the encoder, token pairs of attention and affinity,
maps of the classes, mean-field updates of the dense CRF, all in float32. The constants were fitted to the default model
on one core of a Xeon of 2023; `tests/model/test_cost.py` compares the estimates with what is measured.
"""

import re
from dataclasses import dataclass
from typing import Final

from toco.model.errors import TocoError
from toco.model.options import CamOptions, LabelOptions, SegmentationOptions
from toco.model.spec import BackboneSpec, ModelSpec

_SHAPES: Final = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24), "huge": (1280, 32)}
_FLOAT: Final = 4  # bytes
_ACTIVATIONS: Final = 14  # floats a token channel that a block holds: residual, queries, keys, values, its MLP's
_DECODER_WIDTH: Final = 512
_PRODUCTS_A_SECOND: Final = 5e10  # of one core, float32
_CRF_BYTES: Final = (40, 25)  # a pixel, and for each class and background level
_CRF_SECONDS: Final = (3e-7, 1e-8)  # a pixel for the lattice; a pixel, class, level and update
NETWORK_BYTES: Final = 1400 * 2**20
"""Memory for the network on a processor, all photos that are side by side together: under two of `paper`, which are no
faster so than one after the other (on two cores), and take more memory."""
# A photo without tags is taken to show at most so many classes, unless the threshold lets more through.
_USUAL_CLASSES: Final = 8
_USUAL_THRESHOLD: Final = 0.1


class TooCostly(TocoError):
    """Labelling a photo with these settings would take more memory or time than is allowed."""

    code = "too_costly"
    kind = "too_large"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a photo takes.

    Attributes:
        memory_bytes: at the peak, beside the model.
        seconds: of one core.
    """

    memory_bytes: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an encoder: channels of a token, blocks, and the side of a patch in pixels."""

    width: int
    depth: int
    patch: int


def encoder_shape(backbone: BackboneSpec) -> Shape:
    """Return the size of a plain ViT by its timm name and arguments; an unknown one is taken for a ViT-B/16."""
    named = next((shape for name, shape in _SHAPES.items() if name in backbone.name), _SHAPES["base"])
    patch = re.search(r"patch(\d+)", backbone.name)
    given = backbone.arguments
    return Shape(
        width=int(given.get("embed_dim", named[0])),
        depth=int(given.get("depth", named[1])),
        patch=int(given.get("patch_size") or (patch.group(1) if patch else 16)),
    )


def photo_cost(
    spec: ModelSpec, options: LabelOptions, *, tags: int | None, size: tuple[int, int] | None = None
) -> Cost:
    """Estimate what one photo costs.

    Args:
        spec: of the model.
        options: settings.
        tags: how many it has; None where the classifier finds them.
        size: (height, width) in pixels; None takes the largest that `long_side` lets through.
    """
    shape = encoder_shape(spec.backbone)
    known = len(spec.classes)
    unbounded = tags is None and options.tag_threshold < _USUAL_THRESHOLD
    classes = known if unbounded else min(known, _USUAL_CLASSES if tags is None else tags)
    working = _working_pixels(options.long_side, size)
    complete = spec.completed(options)
    parts = [_cams(complete, complete.cam, shape, side=complete.cam.size, classes=classes,
                   known=known, decodes=complete.cam.decoder_weight > 0)]  # fmt: skip
    held = working * classes * _FLOAT
    if complete.refine == "crf":
        iterations = complete.crf.iterations
        parts.append(_crf(working, classes, iterations=iterations, levels=2 if complete.ignore_band else 1))
    if complete.segmentation is not None:
        kept = classes if complete.segmentation.gate else known
        parts.append(_segmentation(complete.segmentation, shape, pixels=working, kept=kept, known=known))
        if complete.segmentation.refine == "crf":
            parts.append(_crf(working, kept, iterations=complete.segmentation.crf.iterations, levels=1))
            held += working * (kept + 1) * _FLOAT
    return Cost(max(part.memory_bytes for part in parts) + held, sum(part.seconds for part in parts))


def photos_at_once(spec: ModelSpec, options: LabelOptions, *, memory_bytes: float = NETWORK_BYTES) -> int:
    """Return for how many photos side by side a processor's memory may be taken; one at least.

    Only the network counts: dense CRFs run side by side in any case.

    Args:
        spec: of the model.
        options: settings.
        memory_bytes: for all of them together.
    """
    network = photo_cost(spec, options.model_copy(update={"refine": "none"}), tags=None)
    return max(1, int(memory_bytes // network.memory_bytes))


def require_affordable(cost: Cost, *, memory_bytes: float, seconds: float) -> None:
    """Refuse a cost over a limit.

    Args:
        cost: of a photo.
        memory_bytes: most of them.
        seconds: most of them, of one core.

    Raises:
        TooCostly
    """
    fix = "Use a smaller cam.size, cam.scales, segmentation.scales, long_side or CRF iterations, or fewer tags; or have"
    if cost.memory_bytes > memory_bytes:
        raise TooCostly(
            f"A photo would take about {cost.memory_bytes / 2**30:.1f} GiB of memory; the limit is"
            f" {memory_bytes / 2**30:.1f}.",
            fix=f"{fix} TOCO_MAX_PHOTO_MEMORY_BYTES raised.",
        )
    if cost.seconds > seconds:
        raise TooCostly(
            f"A photo would take about {cost.seconds:.0f} s of a processor core; the limit is {seconds:.0f}.",
            fix=f"{fix} TOCO_MAX_PHOTO_SECONDS raised.",
        )


def _working_pixels(long_side: int, size: tuple[int, int] | None) -> int:
    height, width = size or (long_side, long_side)
    factor = min(1.0, long_side / max(height, width))
    return max(1, round(height * factor) * round(width * factor))


def _network(shape: Shape, tokens: float, images: int, *, decodes: bool, known: int) -> Cost:
    """Return what the encoder, the classifiers and perhaps the decoder take for images of so many tokens each."""
    width = shape.width
    products = shape.depth * (12 * width**2 * tokens + 2 * tokens**2 * width)
    decoder = 9 * _DECODER_WIDTH * (width + _DECODER_WIDTH) * tokens if decodes else 0
    held = tokens * (2 * width + 2 * known + (2 * _DECODER_WIDTH if decodes else 0)) * images
    memory = _FLOAT * (tokens * width * _ACTIVATIONS + held)
    return Cost(memory, images * (products + decoder) / _PRODUCTS_A_SECOND)


def _cams(
    options: LabelOptions, cam: CamOptions, shape: Shape, *, side: int, classes: int, known: int, decodes: bool
) -> Cost:
    images = 2 if cam.flip else 1
    largest = (side * max(cam.scales)) ** 2 * images
    together = max(1.0, (options.batch_pixels or 0) / largest)  # photos in one turn of the device
    memory = seconds = 0.0
    for scale in cam.scales:
        pixels = (side * scale) ** 2
        tokens = pixels / shape.patch**2
        network = _network(shape, tokens, images, decodes=decodes, known=known)
        affinity = 2 * _FLOAT * images * tokens**2 if cam.affinity else 0.0  # of one photo, once the network is done
        memory = max(memory, together * (network.memory_bytes + 4 * _FLOAT * pixels * images), affinity)
        seconds += network.seconds
        if cam.affinity:
            products = tokens**2 * (shape.width + cam.affinity.rounds * classes + 8)
            seconds += images * products / _PRODUCTS_A_SECOND
    maps = _FLOAT * side**2 * classes * (2 * images + 2 + (2 if decodes else 0))
    return Cost(memory + maps, seconds)


def _segmentation(settings: SegmentationOptions, shape: Shape, *, pixels: int, kept: int, known: int) -> Cost:
    images = 2 if settings.flip else 1
    memory = seconds = 0.0
    for scale in settings.scales:
        scaled = pixels * scale**2
        network = _network(shape, scaled / shape.patch**2, images, decodes=True, known=known)
        memory = max(memory, network.memory_bytes + 4 * _FLOAT * scaled * images)
        seconds += network.seconds
    return Cost(memory + _FLOAT * pixels * (kept + 1) * (images + 3), seconds)


def _crf(pixels: int, classes: int, *, iterations: int, levels: int) -> Cost:
    if not classes:
        return Cost(0.0, 0.0)
    a_pixel, a_class = _CRF_BYTES
    lattice, update = _CRF_SECONDS
    memory = pixels * (a_pixel + a_class * (classes + 1) * levels)
    return Cost(memory, pixels * (lattice + update * (classes + 1) * levels * iterations))

"""The training losses, as pure functions.

References:
    ToCo, equations 2 to 6: classification, patch token contrast (PTC), class token contrast (CTC), segmentation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from toco.model.errors import InvalidArray
from toco.model.photos.classes import BACKGROUND, IGNORE

CTC_TEMPERATURE = 0.5
CTC_EPSILON = 1e-4


def classification_loss(logits: Tensor, tags: Tensor, known: Tensor | None = None) -> Tensor:
    """Multi-label soft margin loss on image logits, with classes whose presence is unknown left out.

    Args:
        logits: (b, C).
        tags: (b, C) multi-hot.
        known: (b, C) 1 where the presence or absence of the class is known; None means everywhere.

    Returns:
        Scalar. With everything known it equals `torch.nn.functional.multilabel_soft_margin_loss`.
    """
    losses = F.binary_cross_entropy_with_logits(logits, tags.to(logits.dtype), reduction="none")
    if known is None:
        return losses.mean()
    known = known.to(losses.dtype)
    # Divide by C, not by the number of known classes: one listed tag must not weigh as much as a whole tag set.
    return (losses * known).mean()


def patch_token_contrast(patches: Tensor, labels: Tensor) -> Tensor:
    """PTC: pull patch tokens of one label together, push those of different labels apart.

    Args:
        patches: (b, d, h, w) final patch tokens.
        labels: (b, h, w) channel + 1, 0 background, 255 ignored.

    Returns:
        Scalar: 0.5 * (1 - sum_pos s / (n_pos + 1)) + 0.5 * sum_neg s / (n_neg + 1), s = |cosine|, over all ordered
        pairs of different tokens of one image, summed and counted over the batch.

    Raises:
        InvalidArray: the grids differ.
    """
    if patches.shape[0] != labels.shape[0] or patches.shape[2:] != labels.shape[1:]:
        raise InvalidArray(
            f"Patch tokens {tuple(patches.shape)} and labels {tuple(labels.shape)}.", fix="Give them one token grid."
        )
    tokens = F.normalize(_at_least_float32(patches.flatten(2)), dim=1)
    similarity = torch.einsum("bdi,bdj->bij", tokens, tokens).abs()
    flat = labels.flatten(1)
    valid = flat != IGNORE
    pairs = valid[:, :, None] & valid[:, None, :]
    pairs = pairs & ~torch.eye(flat.shape[1], dtype=torch.bool, device=flat.device)
    same = flat[:, :, None] == flat[:, None, :]
    positive, negative = pairs & same, pairs & ~same
    pull = 1.0 - (similarity * positive).sum() / (positive.sum() + 1)
    push = (similarity * negative).sum() / (negative.sum() + 1)
    return 0.5 * pull + 0.5 * push


def class_token_contrast(student: Tensor, teacher: Tensor, flags: Tensor) -> Tensor:
    """CTC: pull the class tokens of crops with objects to the whole image, push those of background crops away.

    Args:
        student: (n * b, k) student-head outputs, crop-major (all images of crop 0, then of crop 1, ...).
        teacher: (m * b, k) teacher-head outputs of the m global views, crop-major, without gradient.
        flags: (b, n) 1 = positive crop, 0 = negative crop.

    Returns:
        Scalar mean over images.

    Raises:
        InvalidArray: the counts do not belong together.
    """
    images, crops = flags.shape
    if student.shape[0] != images * crops or teacher.shape[0] % images:
        raise InvalidArray(
            f"Student {tuple(student.shape)}, teacher {tuple(teacher.shape)}, flags {tuple(flags.shape)}.",
            fix="Give crop-major outputs of every flagged crop.",
        )
    views = teacher.shape[0] // images
    student = _at_least_float32(student).view(crops, images, -1)
    teacher = _at_least_float32(teacher.detach()).view(views, images, -1)
    energy = torch.exp(torch.einsum("vik,cik->ivc", teacher, student) / CTC_TEMPERATURE)  # (b, views, crops)
    positive = flags[:, None, :].to(energy.dtype)
    negatives = (energy * (1.0 - positive)).sum(dim=2, keepdim=True)
    pulled = (-torch.log(energy / (energy + negatives + CTC_EPSILON)) * positive).sum(dim=2)
    own = -torch.log(1.0 / (1.0 + negatives + CTC_EPSILON)).squeeze(2)
    per_view = (pulled + own) / 2.0 / (positive.sum(dim=2) + CTC_EPSILON)
    return per_view.sum(dim=1).mean()


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of the background-only and the foreground-only cross-entropy, so that background does not drown objects.

    Args:
        logits: (b, C + 1, H, W).
        labels: (b, H, W) int64, 255 ignored.

    Returns:
        Scalar. A side without any pixel contributes 0.
    """
    labels = labels.long()
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    background = labels == BACKGROUND
    foreground = (labels != BACKGROUND) & (labels != IGNORE)
    terms = [(losses * side).sum() / side.sum().clamp_min(1) for side in (background, foreground)]
    return (terms[0] + terms[1]) / 2.0


def soft_segmentation_loss(
    logits: Tensor, targets: Tensor, tags: Tensor, known: Tensor, *, least: float = 0.5, own: float = 0.0
) -> Tensor:
    """Cross-entropy with soft labels: background and objects weigh alike, and so, more evenly, do large and small ones.

    Where a photo's tags are incomplete, a place that its labels call background may show any class whose presence is
    not known: there it is enough that the network says background or one of those.

    Args:
        logits: (b, C + 1, h, w).
        targets: (b, C + 1, h, w) in 0..1, background first; all 0 where nothing is known.
        tags: (b, C) 1 = tagged.
        known: (b, C) 1 = presence or absence known.
        least: certainty from which a place counts; see `SoftLabelConfig`.
        own: share of the network's own prediction, restricted to background and tags, in the target.

    Returns:
        Scalar.
    """
    logits = _at_least_float32(logits)
    log_p = logits.log_softmax(dim=1)
    if own:
        with torch.no_grad():
            allowed = F.pad(tags.to(logits.dtype), (1, 0), value=1.0)[:, :, None, None]
            prediction = log_p.exp() * allowed
            prediction = prediction / prediction.sum(dim=1, keepdim=True).clamp_min(1e-6)
            targets = torch.where(targets.sum(dim=1, keepdim=True) > 0.5, torch.lerp(targets, prediction, own), targets)
    sure = ((targets.amax(dim=1) - least) / (1.0 - least)).clamp_min(0.0)  # (b, h, w)
    unknown = F.pad(1.0 - known.to(logits.dtype), (1, 0), value=1.0)[:, :, None, None]  # background itself is allowed
    background = (log_p + unknown.clamp_min(1e-8).log()).logsumexp(dim=1, keepdim=True)
    losses = -(targets * torch.cat([background, log_p[:, 1:]], dim=1)).sum(dim=1)
    shares = targets * sure[:, None]  # (b, C + 1, h, w): how much of each place is which class
    area = shares.sum(dim=(2, 3), keepdim=True)
    objects = (shares[:, 1:] / (area[:, 1:] + 1.0).sqrt()).sum(dim=1)
    terms = [(losses * weight).sum() / weight.sum().clamp_min(1e-6) for weight in (shares[:, 0], objects)]
    return (terms[0] + terms[1]) / 2.0


def soft_cam_loss(cams: Tensor, targets: Tensor, tags: Tensor, *, least: float = 0.5) -> Tensor:
    """Binary cross-entropy of the tagged classes' raw CAMs with soft labels: inside the class and outside weigh alike.

    Classes that are not tagged have no part: the classification loss holds down even their highest place.

    Args:
        cams: (b, C, h, w) raw CAMs, before ReLU.
        targets: (b, C + 1, h, w) in 0..1, background first; all 0 where nothing is known.
        tags: (b, C) 1 = tagged.
        least: certainty from which a place counts; see `SoftLabelConfig`.

    Returns:
        Scalar; 0 where no tagged class has a sure place.
    """
    cams = _at_least_float32(cams)
    sure = ((targets.amax(dim=1, keepdim=True) - least) / (1.0 - least)).clamp_min(0.0)  # (b, 1, h, w)
    inside = targets[:, 1:] * sure
    outside = sure - inside
    losses = [
        (F.softplus(sign * cams) * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp_min(1e-6)
        for sign, weight in ((-1.0, inside), (1.0, outside))
    ]
    # A class that is tagged but sure of no place says nothing of where it is not, either.
    counted = tags * (inside.sum(dim=(2, 3)) > 0.5)
    return ((losses[0] + losses[1]) * counted).sum() / (2.0 * counted.sum()).clamp_min(1.0)


def _at_least_float32(values: Tensor) -> Tensor:
    """Leave half precision: sums over thousands of pairs need the digits. Float64 stays, for gradient checks."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

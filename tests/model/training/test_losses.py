"""Every loss by loops over tokens, crops and pixels, at its edges, and its gradient."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toco.model.errors import InvalidArray
from toco.model.training.losses import (
    class_token_contrast,
    classification_loss,
    patch_token_contrast,
    segmentation_loss,
    soft_cam_loss,
    soft_segmentation_loss,
)

# Classification


def test_classification_is_the_multilabel_soft_margin(close):
    logits, tags = torch.randn(4, 6), torch.randint(0, 2, (4, 6))
    close(classification_loss(logits, tags), F.multilabel_soft_margin_loss(logits, tags.float()))
    close(classification_loss(logits, tags, torch.ones(4, 6)), F.multilabel_soft_margin_loss(logits, tags.float()))


def test_classes_of_unknown_presence_give_neither_loss_nor_gradient(close):
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    tags = torch.tensor([[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    known = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    loss = classification_loss(logits, tags, known)
    total = 0.0
    for b in range(3):
        for c in range(5):
            if known[b, c]:
                p = 1 / (1 + math.exp(-logits[b, c].item()))
                total -= math.log(p if tags[b, c] else 1 - p)
    close(loss, total / 15)  # over all classes: one listed tag does not weigh as much as a whole tag set
    loss.backward()
    assert torch.equal(logits.grad != 0, known.bool())


def test_huge_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4]])
    assert float(classification_loss(logits, torch.tensor([[1, 0]]))) == 0.0
    assert float(classification_loss(logits, torch.tensor([[0, 1]]))) == pytest.approx(1e4)


# Patch token contrast


def naive_ptc(patches, labels):
    """Patches (b, d, h, w) and labels (b, h, w), one ordered pair of tokens after the other."""
    alike, apart, positives, negatives = 0.0, 0.0, 0, 0
    for tokens, given in zip(patches, labels, strict=True):
        places = list(np.ndindex(given.shape))
        for one in places:
            for other in places:
                if one == other or given[one] == 255 or given[other] == 255:
                    continue
                a, b = tokens[:, *one], tokens[:, *other]
                similarity = abs(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
                if given[one] == given[other]:
                    alike, positives = alike + similarity, positives + 1
                else:
                    apart, negatives = apart + similarity, negatives + 1
    return 0.5 * (1 - alike / (positives + 1)) + 0.5 * apart / (negatives + 1)


LABELS = {
    "mixed": [[[0, 0, 3], [255, 3, 1]], [[0, 255, 255], [2, 2, 0]]],
    "everything ignored": [[[255] * 3] * 2] * 2,
    "no positive pair": [[[0, 1, 2], [3, 255, 255]], [[4, 5, 255], [255, 255, 255]]],
    "no negative pair": [[[0] * 3] * 2, [[7] * 3] * 2],
    "one token": [[[255, 255, 255], [255, 4, 255]]] * 2,
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_ptc_equals_a_loop_over_token_pairs(labels, close):
    patches = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    close(patch_token_contrast(patches, torch.tensor(labels)), naive_ptc(patches.numpy(), np.array(labels)))


def test_ptc_without_any_pair_pulls_by_nothing():
    patches = torch.randn(1, 4, 2, 3, requires_grad=True)
    loss = patch_token_contrast(patches, torch.full((1, 2, 3), 255))
    assert loss.item() == 0.5
    loss.backward()
    assert not patches.grad.any()


def test_ptc_counts_opposite_tokens_as_alike():
    tokens = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2)
    assert float(patch_token_contrast(tokens, torch.tensor([[[0, 1]]]))) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_ptc_survives_half_precision_and_zero_tokens():
    patches = torch.randn(1, 4, 2, 3).bfloat16()
    patches[:, :, 0, 0] = 0.0
    loss = patch_token_contrast(patches, torch.tensor([LABELS["mixed"][0]]))
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())


@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 3, 2), (1, 6)])
def test_ptc_refuses_labels_of_another_grid(shape):
    with pytest.raises(InvalidArray, match="token grid"):
        patch_token_contrast(torch.randn(1, 4, 2, 3), torch.zeros(shape, dtype=torch.int64))


def test_ptc_gradient():
    patches = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(LABELS["mixed"])
    assert torch.autograd.gradcheck(lambda p: patch_token_contrast(p, labels), (patches,))


def test_published_ptc_is_matched(expected, matches):
    patches = expected["fmap"].clone().requires_grad_()
    loss = patch_token_contrast(patches, expected["ptc_label"])
    loss.backward()
    matches(loss, expected["ptc_loss"])
    matches(patches.grad, expected["ptc_grad"])


# Class token contrast


def naive_ctc(student, teacher, flags):
    """Student (n, b, k), teacher (m, b, k) and flags (b, n), image by image and view by view."""
    total = 0.0
    for image, marks in enumerate(flags):
        for view in teacher[:, image]:
            energy = [math.exp(float(view @ crop) / 0.5) for crop in student[:, image]]
            negatives = sum(e for e, positive in zip(energy, marks, strict=True) if not positive)
            terms = [-math.log(1 / (1 + negatives + 1e-4))]
            terms += [
                -math.log(e / (e + negatives + 1e-4)) for e, positive in zip(energy, marks, strict=True) if positive
            ]
            total += sum(terms) / 2 / (sum(marks) + 1e-4)
    return total / len(flags)


FLAGS = {
    "mixed": [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 0, 0]],
    "no negatives": [[1, 1, 1, 1, 1]] * 3,
    "only global views": [[1, 1, 0, 0, 0]] * 3,
    "no positives": [[0, 0, 0, 0, 0]] * 3,
}


def ctc_inputs(requires_grad=False):
    student = 0.5 * torch.randn(5 * 3, 6, dtype=torch.float64)
    return student.requires_grad_(requires_grad), 0.5 * torch.randn(2 * 3, 6, dtype=torch.float64)


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
def test_ctc_equals_a_loop_over_views_and_crops(flags, close):
    student, teacher = ctc_inputs()
    found = class_token_contrast(student, teacher, torch.tensor(flags, dtype=torch.float64))
    close(found, naive_ctc(student.reshape(5, 3, 6).numpy(), teacher.reshape(2, 3, 6).numpy(), flags))


def test_ctc_takes_one_global_view_too(close):
    student, teacher = torch.randn(4 * 2, 6, dtype=torch.float64), torch.randn(1 * 2, 6, dtype=torch.float64)
    flags = [[1, 1, 0, 0], [1, 0, 0, 1]]
    found = class_token_contrast(student, teacher, torch.tensor(flags, dtype=torch.float64))
    close(found, naive_ctc(student.reshape(4, 2, 6).numpy(), teacher.reshape(1, 2, 6).numpy(), flags))


def test_ctc_gives_the_teacher_no_gradient():
    student, teacher = ctc_inputs(requires_grad=True)
    teacher.requires_grad_()
    class_token_contrast(student, teacher, torch.tensor(FLAGS["mixed"])).backward()
    assert student.grad.any()
    assert teacher.grad is None


def test_ctc_falls_as_positives_near_and_negatives_leave_the_global_view():
    teacher = torch.eye(4)[:1]
    good = torch.stack([torch.eye(4)[0], torch.eye(4)[0], -torch.eye(4)[0]])
    bad = torch.stack([torch.eye(4)[0], -torch.eye(4)[0], torch.eye(4)[0]])
    flags = torch.tensor([[1.0, 1.0, 0.0]])
    assert float(class_token_contrast(good, teacher, flags)) < float(class_token_contrast(bad, teacher, flags))


@pytest.mark.parametrize(("student", "teacher"), [((14, 6), (6, 6)), ((15, 6), (5, 6))])
def test_ctc_refuses_counts_that_do_not_belong_together(student, teacher):
    with pytest.raises(InvalidArray, match="crop-major") as caught:
        class_token_contrast(torch.randn(student), torch.randn(teacher), torch.ones(3, 5))
    assert str(student) in caught.value.detail


def test_ctc_gradient():
    student, teacher = ctc_inputs(requires_grad=True)
    flags = torch.tensor(FLAGS["mixed"], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: class_token_contrast(s, teacher, flags), (student,))


def test_published_ctc_is_matched(expected, matches):
    student = expected["ctc_student"].clone().requires_grad_()
    loss = class_token_contrast(student, expected["ctc_teacher"], expected["ctc_flags"])
    loss.backward()
    matches(loss, expected["ctc_loss"])
    matches(student.grad, expected["ctc_grad"])


# Segmentation


def naive_segmentation(logits, labels):
    """Logits (b, c, h, w) and labels (b, h, w), pixel by pixel."""
    sides = {"background": [], "foreground": []}
    for b, y, x in np.ndindex(labels.shape):
        if labels[b, y, x] != 255:
            powers = np.exp(logits[b, :, y, x])
            loss = -math.log(powers[labels[b, y, x]] / powers.sum())
            sides["foreground" if labels[b, y, x] else "background"].append(loss)
    return sum(np.mean(losses) if losses else 0.0 for losses in sides.values()) / 2


@pytest.mark.parametrize(
    "values", [(0, 1, 3, 255), (255,), (0,), (2,), (0, 255), (1, 3, 255)], ids=lambda values: f"labels {values}"
)
def test_segmentation_equals_a_loop_over_pixels(values, close):
    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    labels = torch.tensor(values)[torch.randint(0, len(values), (2, 3, 5))]
    close(segmentation_loss(logits, labels), naive_segmentation(logits.numpy(), labels.numpy()))


def test_segmentation_balances_background_and_foreground(close):
    """A single object pixel weighs as much as all the background."""
    logits = torch.zeros(1, 3, 10, 10)
    labels = torch.zeros(1, 10, 10, dtype=torch.uint8)  # any integer type
    labels[0, 0, 0] = 2
    logits[0, 0] = 4.0
    right, wrong = -math.log(math.exp(4) / (math.exp(4) + 2)), -math.log(1 / (math.exp(4) + 2))
    close(segmentation_loss(logits, labels), (right + wrong) / 2)


def test_segmentation_gradient_leaves_ignored_pixels_out():
    logits = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 1, 255], [255, 3, 0]]])
    assert torch.autograd.gradcheck(lambda l: segmentation_loss(l, labels), (logits,))
    segmentation_loss(logits, labels).backward()
    assert torch.equal(logits.grad.abs().sum(dim=1) > 0, labels != 255)


def test_published_segmentation_loss_is_matched(expected, matches):
    logits = F.interpolate(expected["seg"], size=expected["image_uint8"].shape[-2:], mode="bilinear")
    logits.requires_grad_()
    loss = segmentation_loss(logits, expected["refined_label"])
    loss.backward()
    matches(loss, expected["seg_loss"])
    matches(logits.grad.norm(), expected["seg_grad_norm"])


# Soft labels.


def soft_inputs(**changes):
    """Two photos of 3 x 3 places over background and 3 classes: the first shows class 1, the second 0 and 2."""
    targets = torch.zeros(2, 4, 3, 3)
    targets[0, 2, :2], targets[0, 0, 2] = 1.0, 1.0
    targets[1, 1, 0], targets[1, 3, 1], targets[1, 0, 2] = 1.0, 1.0, 1.0
    tags = torch.tensor([[0.0, 1, 0], [1, 0, 1]])
    return {"targets": targets, "tags": tags, "known": torch.ones(2, 3)} | changes


def test_right_and_sure_logits_have_no_soft_loss():
    inputs = soft_inputs()
    assert float(soft_segmentation_loss(30.0 * inputs["targets"], **inputs)) < 1e-6
    assert float(soft_segmentation_loss(-30.0 * inputs["targets"], **inputs)) > 1.0


def test_places_of_which_nothing_is_known_have_no_part():
    inputs = soft_inputs()
    logits = torch.randn(2, 4, 3, 3)
    inputs["targets"][0, :, 1] = 0.0
    before = soft_segmentation_loss(logits, **inputs, own=0.5)
    logits[0, :, 1] += 9.0 * torch.randn(4, 3)
    torch.testing.assert_close(soft_segmentation_loss(logits, **inputs, own=0.5), before)


def test_doubtful_labels_have_no_part():
    inputs = soft_inputs()
    inputs["targets"][1] = 0.25
    logits = torch.randn(2, 4, 3, 3)
    before = soft_segmentation_loss(logits, **inputs)
    logits[1] = 9.0 * torch.randn(4, 3, 3)
    torch.testing.assert_close(soft_segmentation_loss(logits, **inputs), before)


def test_where_tags_are_incomplete_background_may_be_what_nobody_tagged():
    logits = torch.zeros(2, 4, 3, 3)
    logits[:, 3] = 12.0  # class 2 everywhere, untagged in the first photo
    only_background = soft_inputs()["targets"] * torch.tensor([1.0, 0, 0, 0])[:, None, None]
    complete = soft_inputs(targets=only_background)
    unknown = soft_inputs(targets=only_background, known=torch.tensor([[0.0, 1, 0], [0, 0, 0]]))
    assert float(soft_segmentation_loss(logits, **complete)) > 5.0
    assert float(soft_segmentation_loss(logits, **unknown)) < 1e-4


def test_the_networks_own_prediction_softens_labels_but_never_names_an_absent_class():
    logits = torch.zeros(2, 4, 3, 3, requires_grad=True)
    with torch.no_grad():
        logits[0, 1] = 20.0  # class 0, which the first photo does not show
    targets = soft_inputs()["targets"]
    soft_segmentation_loss(logits, **soft_inputs(), own=1.0).backward()
    assert (logits.grad[0, 1] >= 0).all()  # pushed down
    assert targets.shape == logits.shape


def test_a_small_object_weighs_more_a_place_than_a_large_one():
    targets = torch.zeros(1, 3, 8, 8)
    targets[0, 1], targets[0, 2, 0, 0], targets[0, 1, 0, 0] = 1.0, 1.0, 0.0
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    soft_segmentation_loss(logits, targets, torch.ones(1, 2), torch.ones(1, 2)).backward()
    assert float(logits.grad[0, 2, 0, 0].abs()) > 3 * float(logits.grad[0, 1, 4, 4].abs())


def test_soft_loss_gradient():
    inputs = {name: value.double() for name, value in soft_inputs().items()}
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: soft_segmentation_loss(values, **inputs), (logits,))


def soft_cam_inputs():
    inputs = soft_inputs()
    del inputs["known"]
    return inputs


def test_cams_that_fire_inside_their_class_and_nowhere_else_have_no_soft_loss():
    inputs = soft_cam_inputs()
    right = 40.0 * (inputs["targets"][:, 1:] - 0.5)
    assert float(soft_cam_loss(right, **inputs)) < 1e-6
    assert float(soft_cam_loss(-right, **inputs)) > 10.0
    everywhere = torch.full_like(right, 20.0)
    assert float(soft_cam_loss(everywhere, **inputs)) == pytest.approx(10.0, abs=1e-3)  # half of the loss: outside


def test_cams_of_classes_that_are_not_tagged_or_nowhere_sure_have_no_part():
    inputs = soft_cam_inputs()
    inputs["targets"][1, 1] = 0.0  # class 0 of the second photo is tagged and has no sure place
    cams = torch.randn(2, 3, 3, 3, requires_grad=True)
    soft_cam_loss(cams, **inputs).backward()
    moved = cams.grad.abs().sum(dim=(2, 3)) > 0
    assert moved.tolist() == [[False, True, False], [False, False, True]]


def test_nothing_sure_gives_a_soft_cam_loss_of_nought():
    inputs = soft_cam_inputs()
    inputs["targets"] = torch.full((2, 4, 3, 3), 0.25)
    cams = torch.randn(2, 3, 3, 3, requires_grad=True)
    loss = soft_cam_loss(cams, **inputs)
    loss.backward()
    assert loss.item() == 0.0
    assert not cams.grad.any()

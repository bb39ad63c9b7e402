"""CAMs by an independent computation in numpy loops, and every label rule at its exact thresholds."""

import numpy as np
import pytest
import torch

from toco.model.errors import InvalidArray
from toco.model.method.cams import (
    gate,
    label_with_ignore,
    lifted,
    mix_foreground,
    multi_scale_cams,
    normalise_cams,
    outside_box,
    plain_label,
    region_mask,
    resize,
    scaled_input,
)
from toco.model.method.network import normalise_images
from toco.model.options import COCO_THRESHOLDS, VOC_THRESHOLDS, Thresholds
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD

TAGS = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]])


def naive_resize(plane, size):
    """Bilinear with half-pixel centres and clamped borders, one pixel after the other; plane (h, w)."""
    height, width = plane.shape
    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            source_y = max((y + 0.5) * height / size[0] - 0.5, 0.0)
            source_x = max((x + 0.5) * width / size[1] - 0.5, 0.0)
            y0, x0 = int(source_y), int(source_x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            dy, dx = source_y - y0, source_x - x0
            top = plane[y0, x0] * (1 - dx) + plane[y0, x1] * dx
            bottom = plane[y1, x0] * (1 - dx) + plane[y1, x1] * dx
            out[y, x] = top * (1 - dy) + bottom * dy
    return out


def naive_planes(maps, size):
    return np.stack([[naive_resize(plane, size) for plane in planes] for planes in maps])


def raw_cams_of(network):
    @torch.no_grad()
    def run(images):
        classified = network.classify(network.encoder(images))
        return classified.cam, classified.aux_cam

    return run


@pytest.mark.parametrize("size", [(9, 4), (3, 11), (5, 7)])
def test_resizing_is_bilinear_with_half_pixel_centres(size, close):
    maps = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    close(resize(maps, size), naive_planes(maps.numpy(), size))


def test_resizing_to_the_same_size_does_nothing():
    maps = torch.randn(1, 2, 5, 7)
    assert resize(maps, (5, 7)) is maps


@pytest.mark.parametrize("flip", [True, False])
def test_multi_scale_flip_cams_equal_a_naive_computation(flip, network, close):
    images = torch.randn(2, 3, 37, 50)
    raw_cams = raw_cams_of(network)
    found = multi_scale_cams(raw_cams, images, scales=(1.0, 0.5, 1.5), flip=flip)

    for kind, cams in enumerate(found):
        total = np.zeros((2, 5, 37, 50))
        for size in ((37, 50), (18, 25), (55, 75)):  # truncated to whole pixels
            scaled = naive_planes(images.numpy(), size)
            straight = naive_planes(raw_cams(torch.from_numpy(scaled).float())[kind].numpy(), (37, 50))
            best = straight
            if flip:
                mirrored = raw_cams(torch.from_numpy(scaled[..., ::-1].copy()).float())[kind].numpy()
                best = np.maximum(straight, naive_planes(mirrored, (37, 50))[..., ::-1])
            total += np.maximum(best, 0.0)
        for b in range(2):
            for c in range(5):
                total[b, c] -= total[b, c].min()
                total[b, c] /= total[b, c].max() + 1e-5
        close(cams, total)
        assert cams.min() >= 0.0
        assert cams.max() <= 1.0


def test_a_batch_gives_what_its_images_give_one_by_one(network, close):
    images = torch.randn(3, 3, 48, 64)
    raw_cams = raw_cams_of(network)
    (batched, _) = multi_scale_cams(raw_cams, images)
    for position in range(3):
        (alone, _) = multi_scale_cams(raw_cams, images[position : position + 1])
        close(batched[position], alone[0])


def test_a_mirrored_image_has_mirrored_cams(network, close):
    images = torch.randn(1, 3, 48, 64)
    raw_cams = raw_cams_of(network)
    straight, _ = multi_scale_cams(raw_cams, images)
    mirrored, _ = multi_scale_cams(raw_cams, images.flip(-1))
    close(mirrored.flip(-1), straight)


def test_scaled_input_truncates_and_puts_mirrored_images_behind():
    images = torch.randn(2, 3, 33, 50)
    pair = scaled_input(images, 0.5, flip=True)
    assert pair.shape == (4, 3, 16, 25)
    assert torch.equal(pair[2:], pair[:2].flip(-1))
    assert scaled_input(images, 1.0, flip=False) is images


def test_normalised_cams_of_an_empty_map_stay_zero(device, dtype):
    cams = torch.zeros(1, 2, 3, 4, dtype=dtype, device=device)
    cams[0, 0] = torch.arange(12.0).reshape(3, 4) + 5.0
    found = normalise_cams(cams)
    assert (found.dtype, found.device, found.shape) == (dtype, cams.device, (1, 2, 3, 4))
    assert float(found[0, 0].min()) == 0.0
    assert float(found[0, 0].max()) == pytest.approx(1.0, abs=1e-2)
    assert not found[0, 1].any()


def test_the_gate_silences_classes_without_a_tag():
    cams = torch.rand(2, 5, 3, 4)
    gated = gate(cams, TAGS)
    for b in range(2):
        for c in range(5):
            assert torch.equal(gated[b, c], cams[b, c] if TAGS[b, c] else torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(5,), (2, 4), (1, 5)])
def test_tags_that_do_not_belong_to_the_cams_are_refused(shape):
    with pytest.raises(InvalidArray) as caught:
        gate(torch.rand(2, 5, 3, 4), torch.ones(shape))
    assert str(tuple(shape)) in caught.value.detail


def row(*scores):
    """One image of one row whose only tagged class, channel 1 of 3, has these scores."""
    cams = torch.ones(1, 3, 1, len(scores))  # untagged classes score highest, and do not count
    cams[0, 1, 0] = torch.tensor(scores)
    return cams, torch.tensor([[0, 1, 0]])


def next_above(value):
    return float(np.nextafter(np.float32(value), np.float32(1.0)))


def test_plain_rule_at_its_threshold():
    cams, tags = row(0.0, 0.5, next_above(0.5), 1.0)
    assert plain_label(cams, tags).tolist() == [[[0, 0, 2, 2]]]
    assert plain_label(cams, tags, threshold=COCO_THRESHOLDS.plain).tolist() == [[[0, 2, 2, 2]]]


def test_rule_with_ignore_at_its_thresholds():
    cams, tags = row(0.0, 0.25, next_above(0.25), np.float32(0.7), 0.75, 1.0)
    cams = cams.double()  # 0.7 in float32 is under 0.7
    assert label_with_ignore(cams, tags).tolist() == [[[0, 0, 255, 255, 2, 2]]]
    thresholds = Thresholds(high=0.75, low=0.3)
    assert label_with_ignore(cams, tags, thresholds=thresholds).tolist() == [[[0, 0, 0, 255, 255, 2]]]


def test_region_mask_at_its_thresholds():
    score = torch.tensor([[[0.0, 0.25, next_above(0.25), 0.69, next_above(0.7), 1.0]]])
    found = region_mask(score)
    assert found.tolist() == [[[0, 0, 1, 1, 2, 2]]]
    assert found.dtype == torch.int16
    assert region_mask(torch.tensor([[[0.75]]]), thresholds=Thresholds(high=0.75)).tolist() == [[[2]]]  # at high: sure


@pytest.mark.parametrize("rule", [plain_label, label_with_ignore])
def test_rules_equal_a_loop_over_pixels(rule):
    cams = torch.rand(2, 5, 6, 7)
    found = rule(cams, TAGS)
    for b in range(2):
        for y in range(6):
            for x in range(7):
                scores = {c + 1: float(cams[b, c, y, x]) for c in range(5) if TAGS[b, c]}
                label = max(scores, key=scores.get)
                if rule is plain_label and scores[label] <= VOC_THRESHOLDS.plain:
                    label = 0
                elif rule is label_with_ignore and scores[label] <= VOC_THRESHOLDS.high:
                    label = 0 if scores[label] <= VOC_THRESHOLDS.low else 255
                assert int(found[b, y, x]) == label


def test_untagged_images_are_background():
    cams = torch.rand(1, 5, 3, 4)
    none = torch.zeros(1, 5)
    assert not plain_label(cams, none).any()
    assert not label_with_ignore(cams, none).any()


def test_outside_the_valid_box_nothing_is_labelled():
    labels = torch.ones(2, 4, 5, dtype=torch.int64)
    found = outside_box(labels, torch.tensor([[1, 3, 0, 5], [0, 4, 2, 4]]))
    assert found.tolist() == [
        [[255] * 5, [1] * 5, [1] * 5, [255] * 5],
        [[255, 255, 1, 1, 255]] * 4,
    ]
    assert outside_box(labels, None) is labels
    assert outside_box(labels, torch.tensor([[0, 0, 0, 0], [0, 4, 0, 5]]), fill=9)[0].unique().tolist() == [9]


def test_published_maps_and_labels_are_matched(reference_network, expected, matches, same_labels):
    images = normalise_images(expected["image_uint8"], IMAGENET_MEAN, IMAGENET_STD)
    cam, aux = multi_scale_cams(raw_cams_of(reference_network), images)
    tags = expected["tags"]
    matches(cam, expected["cam"])
    matches(aux, expected["cam_aux"])
    same_labels(plain_label(cam, tags), expected["cam_label"])
    same_labels(label_with_ignore(cam, tags, boxes=expected["valid_box"]), expected["cam_label_boxed"])
    same_labels(region_mask(gate(aux, tags).amax(dim=1)), expected["roi_mask"])
    small = resize(aux, expected["fmap"].shape[-2:])
    same_labels(label_with_ignore(small, tags, boxes=expected["ptc_box"]), expected["ptc_label"])


# Lifting


def test_scores_that_rise_well_over_zero_are_left_alone(close):
    raw = torch.tensor([-1.0, 4.0, 2.0]).view(1, 1, 1, 3)
    close(lifted(raw, 0.5), raw)


def test_a_class_that_hardly_shows_owns_its_best_places(close):
    raw = torch.tensor([-5.0, -1.0, -3.0]).view(1, 1, 1, 3)
    close(lifted(raw, 0.5).clamp_min(0.0), torch.tensor([0.0, 2.0, 0.0]).view(1, 1, 1, 3))
    close(lifted(raw, 0.0).clamp_min(0.0), torch.tensor([0.0, 4.0, 2.0]).view(1, 1, 1, 3))


def test_each_class_is_lifted_by_itself_and_a_share_of_one_changes_nothing_that_shows(close):
    raw = torch.randn(2, 3, 4, 5) - 3.0
    together = lifted(raw, 0.2)
    for photo in range(2):
        for channel in range(3):
            place = (slice(photo, photo + 1), slice(channel, channel + 1))
            close(together[place], lifted(raw[place], 0.2))
    close(lifted(raw + 9.0, 1.0), raw + 9.0)


# Mixing in a foreground


def test_foreground_falls_to_the_best_tagged_class_and_to_others_in_the_ratio_of_their_cams(close):
    cams = torch.tensor([0.8, 0.4, 0.9]).view(1, 3, 1, 1)
    tags = torch.tensor([[1.0, 1.0, 0.0]])
    found = mix_foreground(cams, tags, torch.full((1, 1, 1, 1), 0.6), 0.5)
    ratio = 0.401 / 0.801
    close(found.flatten(), torch.tensor([0.5 * 0.8 + 0.5 * 0.6, 0.5 * 0.4 + 0.5 * ratio * 0.6, 0.0]))


def test_foreground_falls_to_all_tagged_classes_where_no_cam_says_anything(close):
    found = mix_foreground(torch.zeros(1, 3, 1, 1), torch.tensor([[1.0, 0.0, 1.0]]), torch.ones(1, 1, 1, 1), 0.5)
    close(found.flatten(), torch.tensor([0.5, 0.0, 0.5]))


def test_foreground_falls_by_other_evidence_where_it_is_given(close):
    cams = torch.tensor([0.8, 0.4, 0.9]).view(1, 3, 1, 1)
    evidence = torch.tensor([0.1, 0.3, 0.5]).view(1, 3, 1, 1)
    tags = torch.tensor([[1.0, 1.0, 0.0]])
    found = mix_foreground(cams, tags, torch.full((1, 1, 1, 1), 0.6), 0.5, evidence=evidence)
    close(found.flatten(), torch.tensor([0.5 * 0.8 + 0.5 * 0.6 * 0.101 / 0.301, 0.5 * 0.4 + 0.5 * 0.6, 0.0]))


def test_a_foreground_without_weight_changes_nothing(close):
    cams, tags = torch.rand(2, 3, 4, 4), torch.ones(2, 3)
    close(mix_foreground(cams, tags, torch.rand(2, 1, 8, 8), 0.0), cams)


def test_photos_without_tags_have_no_object():
    assert not mix_foreground(torch.rand(1, 3, 4, 4), torch.zeros(1, 3), torch.ones(1, 1, 8, 8), 0.5).any()

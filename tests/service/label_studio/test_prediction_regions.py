"""A label as regions: exact where it can be, small enough always, and never with a label that the config lacks."""

import cv2
import numpy as np
import pytest

from toco.model.errors import InvalidOption
from toco.model.formats.label_studio import encode_brush_rle
from toco.model.options import preset_options
from toco.model.photos.classes import VOC
from toco.model.spec import BackboneSpec, ModelSpec
from toco.service.label_studio.labelling_config import parse_labelling_config
from toco.service.label_studio.prediction_regions import FOUND_BY_MODEL, RegionBuilder, brush_mask, faithful_outline
from toco.service.label_studio.project_options import ProjectOptions, parse_project_options

CAT, DOG, BUS, CAR = 8, 12, 6, 7
KINDS = {
    "brush": "BrushLabels",
    "polygon": "PolygonLabels",
    "rectangle": "RectangleLabels",
    "keypoint": "KeyPointLabels",
}


def config(labels='<Label value="cat"/><Label value="dog"/>', kinds=("brush",)):
    controls = "".join(f'<{KINDS[kind]} name="{kind}s" toName="img">{labels}</{KINDS[kind]}>' for kind in kinds)
    return parse_labelling_config(f'<View><Image name="img" value="$image"/>{controls}</View>')


def regions_of(item, where, **options):
    return RegionBuilder(item, where, VOC, ProjectOptions(**options)).refined()


@pytest.fixture
def pets():
    """A cat in a ring with a dog in its hole, an ignored corner, a second cat, and a speck of a bus."""
    mask = np.zeros((90, 120), np.uint8)
    yy, xx = np.mgrid[:90, :120]
    distance = np.hypot(yy - 45, xx - 40)
    mask[distance < 32] = CAT
    mask[distance < 15] = DOG
    mask[70:85, 95:110] = CAT
    mask[:10, :10] = 255
    mask[2, 100] = BUS
    return mask


def test_a_brush_region_is_the_very_mask(labelled, pets):
    found = regions_of(labelled(pets, scores={"cat": 0.61}), config())
    assert [region["value"]["brushlabels"] for region in found] == [["cat"], ["dog"]]
    cat = found[0]
    assert cat["value"]["rle"] == encode_brush_rle(pets == CAT)
    assert cat | {"id": "", "value": {}} == {
        "id": "", "type": "brushlabels", "from_name": "brushs", "to_name": "img", "value": {}, "score": 0.61,
        "original_width": 120, "original_height": 90, "image_rotation": 0,
    }  # fmt: skip


def test_polygons_keep_the_shape_and_its_hole(labelled, pets):
    found = regions_of(labelled(pets), config(kinds=["polygon"]))
    drawn = np.zeros(pets.shape, np.uint8)
    cats = [region for region in found if region["value"]["polygonlabels"] == ["cat"]]
    assert len(cats) == 2
    for region in cats:
        points = np.array(region["value"]["points"]) / 100 * [120, 90]
        cv2.fillPoly(drawn, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    truth = pets == CAT
    assert (drawn.astype(bool) & truth).sum() / (drawn.astype(bool) | truth).sum() > 0.9  # OpenCV adds the border
    assert not drawn[45, 40], "the dog sits in the hole"


def test_rectangles_go_round_each_part_and_key_points_on_the_peak(labelled, pets):
    found = regions_of(labelled(pets), config(kinds=["rectangle", "keypoint"]))
    boxes = [region["value"] for region in found if region["type"] == "rectanglelabels"]
    assert [box["rectanglelabels"] for box in boxes] == [["cat"], ["cat"], ["dog"]]
    assert boxes[1] == {
        "x": pytest.approx(95 / 120 * 100, abs=1e-3), "y": pytest.approx(70 / 90 * 100, abs=1e-3),
        "width": 12.5, "height": pytest.approx(15 / 90 * 100, abs=1e-3), "rotation": 0, "rectanglelabels": ["cat"],
    }  # fmt: skip
    points = {region["value"]["keypointlabels"][0]: region for region in found if region["type"] == "keypointlabels"}
    assert points["dog"]["value"]["x"] == pytest.approx(40.5 / 120 * 100, abs=1e-3)
    assert points["dog"]["score"] == pytest.approx(0.9, abs=1e-3)


def test_labels_that_the_config_lacks_are_left_out(labelled, pets):
    assert regions_of(labelled(pets), config('<Label value="horse"/>')) == []
    assert regions_of(labelled(np.zeros((4, 4))), config()) == []
    assert regions_of(labelled(pets), config(), regions=["polygon"]) == []


def test_classes_that_share_a_label_are_one_region(labelled):
    mask = np.zeros((10, 10), np.uint8)
    mask[:5, :8], mask[5:, :2] = BUS, CAR
    vehicle = config('<Label value="Vehicle" predicted_values="bus,car"/>')
    (region,) = regions_of(labelled(mask, scores={"bus": 0.5, "car": 1.0}), vehicle)
    assert region["value"]["brushlabels"] == ["Vehicle"]
    assert region["value"]["rle"] == encode_brush_rle(mask > 0)
    assert region["score"] == pytest.approx((0.5 * 40 + 1.0 * 10) / 50)


def test_tags_of_the_classifier_are_marked(labelled, pets):
    for region in regions_of(labelled(pets, tag_source="model"), config()):
        assert region["meta"] == {"text": [FOUND_BY_MODEL]}
    assert all("meta" not in region for region in regions_of(labelled(pets), config()))


def test_the_largest_regions_are_kept_in_their_order(labelled, pets):
    everything = regions_of(labelled(pets), config(kinds=KINDS))
    kept = regions_of(labelled(pets), config(kinds=KINDS), max_regions=2)
    assert len(everything) == 2 + 3 + 3 + 2
    assert [region["type"] for region in kept] == ["brushlabels", "keypointlabels"]
    assert [region["type"] for region in everything] == sorted(
        (region["type"] for region in everything), key=[f"{kind}labels" for kind in KINDS].index
    )


def test_unwanted_kinds_are_left_out(labelled, pets):
    builder = RegionBuilder(labelled(pets), config(kinds=["brush", "keypoint"]), VOC, ProjectOptions())
    assert {region["type"] for region in builder.refined(without=frozenset({"keypoint"}))} == {"brushlabels"}


def test_unrefined_regions_are_the_thresholded_cams(labelled, pets):
    builder = RegionBuilder(labelled(pets), config(kinds=["brush", "keypoint"]), VOC, ProjectOptions())
    cat, dog = builder.unrefined(threshold=0.5)
    assert (cat["value"]["brushlabels"], dog["value"]["brushlabels"]) == (["cat"], ["dog"])
    assert cat["value"]["rle"] == encode_brush_rle(pets == CAT)
    peak = np.zeros(pets.shape, bool)
    peak[45, 40] = True
    assert [r["value"]["rle"] for r in builder.unrefined(threshold=0.85) if r["value"]["brushlabels"] == ["dog"]] == [
        encode_brush_rle(peak)
    ]


# Smoothing


def test_polygons_of_small_and_thin_masks_are_simplified_less():
    disc = np.hypot(*(np.mgrid[:300, :400] - np.array([150, 200])[:, None, None])) < 120
    assert faithful_outline(disc, tolerance=1.0, min_area=16) == (1.0, 16)
    thin = abs(np.hypot(*(np.mgrid[:300, :400] - np.array([150, 200])[:, None, None])) - 100) < 1.5
    assert faithful_outline(thin, tolerance=2.0, min_area=16)[0] < 2.0
    speck = np.zeros((60, 60), bool)
    speck[3:5, 3:5] = True
    assert faithful_outline(speck, tolerance=1.0, min_area=16)[1] <= 4
    noise = np.random.default_rng(0).random((400, 400)) < 0.5
    assert faithful_outline(noise, tolerance=2.0, min_area=64)[0] > 0, "too many corners"


def test_a_mask_that_is_short_enough_is_not_touched():
    mask = np.zeros((50, 50), bool)
    mask[::7, ::5] = True
    assert brush_mask(mask, max_rle_bytes=len(encode_brush_rle(mask))) is mask


def test_a_mask_that_is_too_long_is_smoothed_until_it_fits():
    random = np.random.default_rng(0)
    disc = np.hypot(*(np.mgrid[:300, :400] - np.array([150, 200])[:, None, None])) < 120
    noisy = disc ^ (random.random(disc.shape) < 0.12)
    smooth = brush_mask(noisy, max_rle_bytes=4000)
    assert len(encode_brush_rle(noisy)) > 50_000
    assert len(encode_brush_rle(smooth)) <= 4000
    assert (smooth & disc).sum() / (smooth | disc).sum() > 0.95


def test_noise_that_cannot_be_smoothed_is_left_out():
    noise = np.indices((200, 200)).sum(axis=0) % 2 == 0
    assert brush_mask(noise, max_rle_bytes=100) is None
    specks = np.zeros((200, 200), bool)
    specks[::4, ::4] = True
    assert brush_mask(specks, max_rle_bytes=1000) is None


# Options


def test_options_are_read_from_text_or_objects():
    assert parse_project_options(None) == parse_project_options("") == ProjectOptions()
    assert parse_project_options('{"preset": "fast"}') == parse_project_options({"preset": "fast"})


@pytest.mark.parametrize("wrong", ["{", "[]", '"x"', {"presets": 1}, {"preset": "best"}, {"max_regions": 0}, 7])
def test_options_that_do_not_fit_are_named(wrong):
    with pytest.raises(InvalidOption):
        parse_project_options(wrong)


def test_the_version_changes_with_all_that_changes_a_prediction():
    spec = ModelSpec(name="m", backbone=BackboneSpec(name="vit"), classes=VOC.classes, weights_sha256="ab" * 32)
    fast, balanced = preset_options("fast"), preset_options("balanced")
    versions = [
        ProjectOptions().version(spec, fast),
        ProjectOptions().version(spec, balanced),
        ProjectOptions(regions=("brush",)).version(spec, fast),
        ProjectOptions(max_rle_bytes=1000).version(spec, fast),
        ProjectOptions().version(spec.model_copy(update={"decoder_weight": 0.5}), fast),
        ProjectOptions().version(spec.model_copy(update={"weights_sha256": "cd" * 32}), fast),
    ]
    assert len(set(versions)) == len(versions)
    assert ProjectOptions().version(spec, fast) == versions[0]
    assert versions[0].startswith("m@abababababab+")

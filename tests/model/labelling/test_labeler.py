"""The facade: any photo in, a label at the photo's own size out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.labelling.quick_labels import QUICK, QUICK_CHANGES, CrfRecorder, pixels, same, sized
from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF
from toco.model.labelling.labeler import Labeler
from toco.model.method.cams import multi_scale_cams, resize
from toco.model.method.device import DeviceUnavailable
from toco.model.method.network import normalise_images
from toco.model.method.pseudo_mask import threshold_pseudo_mask
from toco.model.method.segmentation import gated_probabilities, multi_scale_logits
from toco.model.options import PRESETS, VOC_THRESHOLDS, LabelOptions, Thresholds, preset_options
from toco.model.photos.images import read_image
from toco.model.spec import InvalidCheckpoint

# What comes out


def test_a_label_holds_everything_about_a_photo(labeler):
    options = QUICK.model_copy(update={"segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(pixels(), ["dog", "kitten"], options)
    assert label.tags == ("cat", "dog")  # canonical names in channel order
    assert label.tag_source == "user"
    assert label.size == (40, 56)
    assert label.working_size == (40, 56)
    assert (label.cams.shape, label.cams.dtype) == ((2, 40, 56), np.float32)
    assert label.cams.min() >= 0.0
    assert label.cams.max() <= 1.0
    assert (label.pseudo_mask.shape, label.pseudo_mask.dtype) == ((40, 56), np.uint8)
    assert set(np.unique(label.pseudo_mask)) <= {0, 8, 12, 255}
    assert set(np.unique(label.segmentation)) <= {0, 8, 12}  # gated by the tags
    assert label.tag_probabilities.shape == (2,)
    assert label.timings.keys() == {"decode", "network", "refine"}


def test_cams_are_the_multi_scale_cams_of_the_paper(labeler, close):
    options = preset_options("paper", refine="none", precision="float32", cam={"size": 64}, segmentation=None)
    image = pixels()
    label = labeler.label_one(image, ["cat", "person"], options)
    network = labeler.network
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    square = resize(normalise_images(tensor, labeler.spec.mean, labeler.spec.std), (64, 64))
    with torch.no_grad():
        (cams,) = multi_scale_cams(lambda batch: (network.classify(network.encoder(batch)).cam,), square)
    close(torch.from_numpy(label.cams), resize(cams, (40, 56))[0, [0, 3]])


def test_the_decoder_has_its_share_in_the_map(labeler, close):
    image = pixels(64, 64)  # the maps' own size
    cam = {"size": 64, "scales": [1.0, 0.5], "flip": True, "doubted": None}
    plain = labeler.label_one(image, ["dog", "cat"], preset_options("fast", **QUICK_CHANGES, cam=cam))
    mixed = labeler.label_one(
        image, ["dog", "cat"], preset_options("fast", **QUICK_CHANGES, cam=cam | {"decoder_weight": 0.3})
    )
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    shown = resize(normalise_images(tensor, labeler.spec.mean, labeler.spec.std), (64, 64))
    belief = torch.zeros(1, 2, 64, 64)
    channels = labeler.vocabulary.channels(["cat", "dog"])
    with torch.inference_mode():
        for side in (64, 32):
            scaled = resize(shown, (side, side))
            for mirror in (False, True):
                maps = gated_probabilities(labeler.network(scaled.flip(-1) if mirror else scaled)[1], channels)
                belief += resize(maps.flip(-1) if mirror else maps, (64, 64)) / 4
    close(torch.from_numpy(mixed.cams)[None], 0.7 * torch.from_numpy(plain.cams)[None] + 0.3 * belief)


def test_the_model_says_what_share_its_decoder_has_unless_the_caller_does(labeler, close):
    image, options = pixels(64, 64), preset_options("fast", **QUICK_CHANGES, cam={"size": 64})
    own = Labeler(labeler.network, labeler.spec.model_copy(update={"decoder_weight": 0.6}), device="cpu")
    asked = options.model_copy(update={"cam": options.cam.model_copy(update={"decoder_weight": 0.6})})
    wanted = labeler.label_one(image, ["dog", "cat"], asked).cams
    close(torch.from_numpy(own.label_one(image, ["dog", "cat"], options).cams), torch.from_numpy(wanted))
    plain = labeler.label_one(image, ["dog", "cat"], options).cams
    assert np.abs(plain - wanted).max() > 0.05
    silent = asked.model_copy(update={"cam": asked.cam.model_copy(update={"decoder_weight": 0.0})})
    close(torch.from_numpy(own.label_one(image, ["dog", "cat"], silent).cams), torch.from_numpy(plain))


def test_tags_that_the_classifier_doubts_are_the_decoder_s_more(labeler, close):
    image, own = pixels(64, 64), labeler.spec.model_copy(update={"decoder_weight": 0.3})
    maps = {}
    for weight in (0.0, 0.3, 0.8):
        cam = {"size": 64, "decoder_weight": weight, "doubted": None}
        maps[weight] = Labeler(labeler.network, own, device="cpu").label_one(
            image, ["dog", "cat"], preset_options("fast", **QUICK_CHANGES, cam=cam)
        )
    dog, cat = maps[0.0].tag_probabilities
    between = {"under": float(dog + cat) / 2, "decoder_weight": 0.8, "full_belief": 1.0}
    asked = preset_options("fast", **QUICK_CHANGES, cam={"size": 64, "doubted": between})
    found = Labeler(labeler.network, own, device="cpu").label_one(image, ["dog", "cat"], asked).cams
    for place, probability in enumerate((dog, cat)):
        share = 0.8 if probability < between["under"] else 0.3
        close(torch.from_numpy(found[place]), torch.from_numpy(maps[share].cams[place]))
    assert np.abs(maps[0.3].cams - maps[0.8].cams).max() > 0.05
    silent = asked.model_copy(update={"cam": asked.cam.model_copy(update={"decoder_weight": 0.0})})
    plain = Labeler(labeler.network, own, device="cpu").label_one(image, ["dog", "cat"], silent).cams
    close(torch.from_numpy(plain), torch.from_numpy(maps[0.0].cams))  # a decoder without a share gets none


@pytest.mark.parametrize("full", [0.01, 0.9])
def test_what_the_decoder_believes_of_a_doubted_tag_counts_beside_its_largest(full, labeler, close):
    image, own = pixels(64, 64), labeler.spec.model_copy(update={"decoder_weight": 0.3})
    alone = Labeler(labeler.network, own, device="cpu")

    def maps(doubted):
        cam = {"size": 64, "decoder_weight": 1.0, "doubted": doubted}
        return torch.from_numpy(
            alone.label_one(image, ["dog", "cat"], preset_options("fast", **QUICK_CHANGES, cam=cam)).cams
        )

    belief, found = maps(None), maps({"under": 1.0, "decoder_weight": 1.0, "full_belief": full})
    largest = belief.amax(dim=(1, 2), keepdim=True)
    assert bool((largest > 0.01).all() and (largest < 0.9).all())
    close(found, belief / largest.clamp_min(full))


def test_tokens_are_those_of_scale_1(labeler):
    image = pixels()
    several = QUICK.model_copy(update={"cam": QUICK.cam.model_copy(update={"scales": (0.5, 1.0, 1.5), "flip": True})})
    seen = [labeler.label_one(image, ["cat"], options).tokens for options in (QUICK, several)]
    grid = 64 // labeler.network.encoder.patch_size
    assert (seen[0].shape, seen[0].dtype) == ((grid, grid, labeler.network.encoder.width), np.float16)
    assert np.allclose(*seen, atol=1e-2)


def test_segmentation_runs_on_the_photo_at_its_own_size(labeler):
    options = QUICK.model_copy(
        update={"segmentation": PRESETS["paper"].segmentation.model_copy(update={"refine": "none", "gate": False})}
    )
    image = pixels()
    label = labeler.label_one(image, ["cat"], options)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = multi_scale_logits(
            lambda batch: labeler.network(batch)[1], normalise_images(tensor, labeler.spec.mean, labeler.spec.std)
        )
    wanted = np.array([0, 8, 12, 13, 15])[logits[0].argmax(dim=0).numpy()]
    assert (label.segmentation == wanted).mean() > 0.999


@pytest.mark.parametrize("preset", ["fast", "balanced", "paper"])
def test_every_preset_labels_a_real_photo(preset, labeler, photo_folder):
    options = preset_options(preset, cam={"size": 64}, long_side=64)
    label = labeler.label_one(photo_folder / "cat.png", ["cat"], options)
    assert label.size[0] > label.size[1]  # portrait
    assert (label.segmentation is None) == (options.segmentation is None)
    assert 0.0 <= label.ignore_ratio <= 1.0
    none = replace(label, pseudo_mask=np.zeros_like(label.pseudo_mask))
    assert none.empty_tags == label.tags
    index = {row["name"]: row["index"] for row in label.class_report()}[label.tags[0]]
    assert replace(label, pseudo_mask=np.full_like(label.pseudo_mask, index)).empty_tags == label.tags[1:]


def test_balanced_is_what_one_gets_without_options(labeler, monkeypatch):
    asked = []
    monkeypatch.setattr(labeler, "batch_size", lambda options: asked.append(options) or 1)
    list(labeler.label([]))
    assert asked == [preset_options("balanced")]


def test_auxiliary_and_spread_cams_are_other_cams(labeler):
    plain = labeler.label_one(pixels(), ["cat"], QUICK)
    for changes in ({"auxiliary": True}, {"affinity": {"power": 4.0}}, {"flip": True}, {"scales": (0.75, 1.0)}):
        options = preset_options("fast", refine="none", precision="float32", cam={"size": 64} | changes)
        other = labeler.label_one(pixels(), ["cat"], options)
        assert np.abs(other.cams - plain.cams).max() > 1e-3, changes


def test_thresholds_of_the_caller_replace_those_of_the_model(labeler):
    own = Thresholds(high=0.55, low=0.45)
    for options, thresholds in ((QUICK, VOC_THRESHOLDS), (QUICK.model_copy(update={"thresholds": own}), own)):
        label = labeler.label_one(pixels(), ["cat"], options)
        np.testing.assert_array_equal(label.pseudo_mask, threshold_pseudo_mask(label.cams, [8], thresholds=thresholds))


def test_the_model_has_thresholds_of_its_own(labeler):
    spec = labeler.spec.model_copy(update={"thresholds": Thresholds(high=0.9, low=0.8)})
    label = Labeler(labeler.network, spec, device="cpu").label_one(pixels(), ["cat"], QUICK)
    wanted = threshold_pseudo_mask(label.cams, [8], thresholds=spec.thresholds)
    np.testing.assert_array_equal(label.pseudo_mask, wanted)


def test_the_model_has_a_size_of_its_own(labeler):
    spec = labeler.spec.model_copy(update={"input_size": 96})
    own = Labeler(labeler.network, spec, device="cpu")
    options = preset_options("fast", **QUICK_CHANGES)
    assert same(own.label_one(pixels(), ["cat"], options), own.label_one(pixels(), ["cat"], sized(96)))
    assert not same(own.label_one(pixels(), ["cat"], options), own.label_one(pixels(), ["cat"], sized(64)))
    assert own.batch_size(options.model_copy(update={"batch_pixels": 5 * 96**2})) == 5


def test_the_model_has_crf_settings_of_its_own(labeler):
    crf = CrfRecorder()
    spec = labeler.spec.model_copy(
        update={
            "pseudo_mask_crf": replace(PSEUDO_MASK_CRF, iterations=2),
            "segmentation_crf": replace(SEGMENTATION_CRF, iterations=3),
        }
    )
    own = Labeler(labeler.network, spec, device="cpu")
    own.crf = crf
    options = preset_options("paper", cam={"size": 64}, long_side=64, segmentation={"scales": [1.0]})
    own.label_one(pixels(), ["cat"], options)
    assert set(crf.seen) == {spec.pseudo_mask_crf, spec.segmentation_crf}
    crf.seen.clear()
    mine = replace(SEGMENTATION_CRF, iterations=5)
    segmentation = options.segmentation.model_copy(update={"crf": mine})
    own.label_one(pixels(), ["cat"], options.model_copy(update={"crf": mine, "segmentation": segmentation}))
    assert set(crf.seen) == {mine}


def test_without_an_ignored_band_every_pixel_is_decided(labeler):
    label = labeler.label_one(pixels(), ["cat"], QUICK.model_copy(update={"ignore_band": False}))
    np.testing.assert_array_equal(label.pseudo_mask, np.where(label.cams[0] > 0.5, 8, 0))


# Set-up


def test_a_labeler_of_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InvalidCheckpoint):
        Labeler.from_folder(tmp_path)


def test_a_device_that_is_not_there_is_refused(tiny_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable):
        Labeler.from_folder(tiny_model, device="cuda")


def test_automatic_precision_changes_little(labeler, photo_folder):
    exact = labeler.label_one(photo_folder / "dog.png", ["dog"], QUICK)
    quick = labeler.label_one(photo_folder / "dog.png", ["dog"], QUICK.model_copy(update={"precision": "auto"}))
    assert np.abs(exact.cams - quick.cams).mean() < 0.05


def test_the_crf_of_the_caller_is_used(labeler, photo_folder):
    source = read_image(photo_folder / "dog.png", long_side=64).pixels
    soft = LabelOptions.model_validate(QUICK.model_dump() | {"refine": "crf"})
    crf = {"gaussian_sxy": 1, "gaussian_weight": 0, "bilateral_sxy": 1, "bilateral_srgb": 1, "bilateral_weight": 0}
    off = LabelOptions.model_validate(QUICK.model_dump() | {"refine": "crf", "crf": crf | {"iterations": 0}})
    by_rule = labeler.label_one(source, ["dog"], QUICK)
    np.testing.assert_array_equal(labeler.label_one(source, ["dog"], off).pseudo_mask, by_rule.pseudo_mask)
    assert (labeler.label_one(source, ["dog"], soft).pseudo_mask != by_rule.pseudo_mask).any()

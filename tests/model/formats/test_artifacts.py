"""The artifacts of an item: what is written is read back, byte for byte the same each time."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.model.formats.conftest import OPTIONS, SPEC
from toco.model.errors import InvalidArray, InvalidOption
from toco.model.formats.artifacts import (
    PSEUDO_MASK,
    InvalidArtifact,
    encode_mask,
    heat_name,
    read_cams,
    read_result,
    read_tokens,
)
from toco.model.formats.item import LabelledItem, MaskChoice
from toco.model.photos.classes import COCO, VOC, Vocabulary
from toco.model.photos.images import read_mask
from toco.model.photos.palette import PALETTE

WHICH = MaskChoice("pseudo_mask")
TOKENS = np.random.default_rng(0).normal(size=(6, 8, 96)).astype(np.float16)


def test_an_item_has_all_its_artifacts(encode, make_label):
    names = ["cam.npz", "heat_cat.jpg", "heat_person.jpg", "overlay.jpg", "pseudo_mask.png", "result.json"]
    assert sorted(encode()) == sorted([*names, "segmentation.png"])
    assert sorted(encode(dataclasses.replace(make_label(), tokens=TOKENS))) == sorted(
        [*names, "segmentation.png", "tokens.npz"]
    )


def test_only_the_wanted_outputs_are_made_and_the_result_always(encode, make_label):
    assert list(encode(outputs=())) == ["result.json"]
    assert sorted(encode(outputs=["heat"])) == ["heat_cat.jpg", "heat_person.jpg", "result.json"]
    assert "segmentation.png" not in encode(make_label(segmentation=False))
    with pytest.raises(InvalidOption, match="mesh"):
        encode(outputs=["mesh"])


def test_the_same_label_gives_the_same_bytes(encode):
    assert encode() == encode()


def test_masks_are_palette_pngs_of_indices(encode, make_label):
    label, artifacts = make_label(), encode()
    for name, mask in (("pseudo_mask.png", label.pseudo_mask), ("segmentation.png", label.segmentation)):
        assert np.array_equal(read_mask(artifacts[name]), mask)
        with Image.open(io.BytesIO(artifacts[name])) as picture:
            assert picture.mode == "P"
            assert picture.getpalette() == PALETTE.ravel().tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (300, 7)])
def test_every_index_survives(shape):
    mask = np.resize(np.arange(256), shape).astype(np.uint8)
    assert np.array_equal(read_mask(encode_mask(mask)), mask)


def test_an_unchanged_mask_goes_out_as_it_was_stored(encode):
    artifacts = encode()
    stored = artifacts[PSEUDO_MASK]
    assert LabelledItem("cat.jpg", artifacts.get).mask_png(WHICH) is stored
    recoded = LabelledItem("cat.jpg", artifacts.get, recode=np.arange(256, dtype=np.uint8)[::-1])
    assert np.array_equal(read_mask(recoded.mask_png(WHICH)), 255 - read_mask(stored))


def test_a_stored_mask_of_another_palette_goes_out_in_ours(encode):
    artifacts = encode()
    mask = read_mask(artifacts[PSEUDO_MASK])
    grey = io.BytesIO()
    Image.fromarray(mask).save(grey, "PNG")
    item = LabelledItem("cat.jpg", (artifacts | {PSEUDO_MASK: grey.getvalue()}).get)
    assert item.mask_png(WHICH) == encode_mask(mask)


def test_cams_keep_half_precision_names_and_sizes(encode, make_label):
    label = make_label(working_size=(45, 60))
    cams = read_cams(encode(label)["cam.npz"])
    assert (cams.maps.dtype, cams.maps.shape, cams.size) == (np.float16, (2, 45, 60), (90, 120))
    assert (cams.names, cams.indices.tolist()) == (("cat", "person"), [8, 15])
    assert np.abs(cams.maps.astype(np.float32) - label.cams).max() <= 0.5 / 2048


def test_the_result_says_what_was_done(encode, make_label):
    label = make_label(working_size=(45, 60))
    result = read_result(encode(label)["result.json"])
    assert (result.tags, result.tag_source, result.open_tags) == (("cat", "person"), "user", ("unicorn",))
    assert (result.model_version, result.options["preset"]) == ("tiny@0123", "fast")
    assert result.options["thresholds"] == {"high": 0.7, "low": 0.25, "plain": 0.5}  # the model's, as none were given
    assert result.options_digest == SPEC.completed(OPTIONS).digest()
    assert (result.size.height, result.size.width) == (90, 120)
    assert (result.working_size.height, result.working_size.width, result.capped) == (45, 60, True)
    assert result.ignore_ratio == pytest.approx((label.pseudo_mask == 255).mean())
    assert result.timings == {"network": 0.25, "refine": 0.5}
    for entry, row in zip(result.classes, label.class_report(), strict=True):
        assert entry.model_dump() == pytest.approx(row)
    assert result.score == pytest.approx(np.mean([entry.score for entry in result.classes]))
    assert result.class_score("person") == result.classes[1].score
    assert result.class_score("dog") is None


def test_an_untagged_photo_has_a_result_too(encode, make_label):
    artifacts = encode(make_label(tags=()))
    result = read_result(artifacts["result.json"])
    assert (result.tags, result.classes, result.score, result.capped) == ((), (), 0.0, False)
    assert read_cams(artifacts["cam.npz"]).maps.shape == (0, 90, 120)
    assert not read_mask(artifacts["pseudo_mask.png"]).any()


def test_pictures_for_people_are_small_jpegs(encode, make_label):
    artifacts = encode(make_label(1500, 2000, working_size=(1200, 1600)))
    for name in ("overlay.jpg", "heat_cat.jpg"):
        with Image.open(io.BytesIO(artifacts[name])) as picture:
            assert (picture.format, picture.size) == ("JPEG", (1280, 960))
    assert read_mask(artifacts["pseudo_mask.png"]).shape == (1500, 2000)


def test_pictures_for_people_are_no_larger_than_the_photo_was_at_its_labelling(encode, make_label):
    artifacts = encode(make_label(150, 200, working_size=(30, 40)))
    for name in ("overlay.jpg", "heat_cat.jpg"):
        with Image.open(io.BytesIO(artifacts[name])) as picture:
            assert picture.size == (40, 30)


def test_heat_pictures_have_safe_names_of_their_own():
    assert heat_name("traffic light") == heat_name(" traffic-light") == "heat_traffic_light.jpg"
    assert heat_name("tv/monitor") == "heat_tv~2fmonitor.jpg"
    assert heat_name("../x") == "heat_..~2fx.jpg"
    assert heat_name("Kätzchen") == "heat_Kätzchen.jpg"
    for vocabulary in (VOC, COCO, Vocabulary.of_names(["a b", "a/b", "ab c"])):
        assert len({heat_name(name) for name in vocabulary.names}) == len(vocabulary)


def test_damaged_artifacts_are_named(encode):
    artifacts = encode()
    for data in (b"", b"text", artifacts["cam.npz"][:-200]):
        with pytest.raises(InvalidArtifact, match=r"cam\.npz"):
            read_cams(data)
    wrong = io.BytesIO()
    np.savez(wrong, cams=np.zeros((2, 2)), names=np.array(["a"]), indices=np.array([1]), size=np.array([2, 2]))
    with pytest.raises(InvalidArtifact, match="maps for"):
        read_cams(wrong.getvalue())


def test_tokens_come_back_reduced(encode, make_label):
    artifacts = encode(dataclasses.replace(make_label(), tokens=TOKENS), outputs=["tokens"])
    tokens = read_tokens(artifacts["tokens.npz"])
    assert (tokens.values.shape, tokens.values.dtype) == ((6, 8, 48), np.int8)  # no more directions than tokens
    assert len(encode(outputs=["tokens"])) == 1  # a label without tokens has no such artifact
    wrong = io.BytesIO()
    np.savez(wrong, values=np.zeros((2, 2, 3), np.int8), scales=np.ones(2, np.float32))
    for data, said in ((b"text", r"tokens\.npz cannot be read"), (wrong.getvalue(), "3\\) values and \\(2")):
        with pytest.raises(InvalidArtifact, match=said):
            read_tokens(data)


def test_pickles_in_cams_are_not_opened():
    file = io.BytesIO()
    np.savez(file, cams=np.array([object()]), names=np.array(["a"]), indices=np.array([1]), size=np.array([1, 1]))
    with pytest.raises(InvalidArtifact, match="allow_pickle"):
        read_cams(file.getvalue())


def test_a_result_of_another_layout_is_named(encode):
    document = json.loads(encode()["result.json"])
    with pytest.raises(InvalidArtifact, match="its start"):
        read_result(b"{")
    with pytest.raises(InvalidArtifact, match="does not fit at format"):
        read_result(json.dumps(document | {"format": 2}).encode())
    with pytest.raises(InvalidArtifact, match=r"size\.width"):
        read_result(json.dumps(document | {"size": {"height": 3, "width": 0}}).encode())


def test_arrays_that_are_no_masks_are_named():
    for mask in (np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((0, 2), np.uint8)):
        with pytest.raises(InvalidArray, match="mask of shape"):
            encode_mask(mask)

"""On a processor labels are made by graphs and arrays; they are those that torch makes."""

import numpy as np
import pytest

from tests.model.labelling.quick_labels import pixels, results
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.options import PRESETS, preset_options

pytest.importorskip("openvino")

DOUBTED = {"under": 0.99, "decoder_weight": 0.7}
FLIPPED = {"size": 64, "scales": [0.5, 1.0], "flip": True, "decoder_weight": 0.4, "doubted": DOUBTED}
OPTIONS = {
    "fast": preset_options("fast", cam={"size": 64}),
    "balanced": preset_options("balanced", cam={"size": 64}),
    "with segmentation": PRESETS["paper"].model_copy(
        update={"cam": PRESETS["paper"].cam.model_copy(update={"size": 64})}
    ),
    "mirrored, with the decoder": preset_options("balanced", cam=FLIPPED),
    "auxiliary": preset_options("fast", cam={"size": 64, "auxiliary": True, "lift": None}),
}
TAGS = {
    "tags": ["dog", "kitten"],
    "no tags": None,
    "nothing known": [],
    "a word that is not known": ["cat", "zeppelin"],
}


@pytest.fixture(scope="module")
def labelers(tiny_model, tmp_path_factory):
    """The same model in float32 on graphs and on torch."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # float32 in both
        return [
            Labeler.from_folder(tiny_model, device="cpu", cache=cache, runtime=runtime)
            for runtime in ("openvino", "torch")
        ]


@pytest.mark.parametrize("tags", list(TAGS.values()), ids=list(TAGS))
@pytest.mark.parametrize("options", list(OPTIONS.values()), ids=list(OPTIONS))
def test_labels_are_those_of_torch(options, tags, labelers):
    found, expected = (results(labeler, [LabelRequest(pixels(), tags)], options)[0] for labeler in labelers)
    assert (found.tags, found.tag_source) == (expected.tags, expected.tag_source)
    np.testing.assert_allclose(found.tag_probabilities, expected.tag_probabilities, atol=1e-4)
    np.testing.assert_allclose(found.cams, expected.cams, atol=2e-3)
    np.testing.assert_allclose(found.tokens, expected.tokens, atol=2e-2)
    assert (found.pseudo_mask == expected.pseudo_mask).mean() > 0.995
    if options.segmentation is None:
        assert found.segmentation is None
    else:
        assert (found.segmentation == expected.segmentation).mean() > 0.995


def test_photos_side_by_side_do_not_mix(labelers):
    labeler, options = labelers[0], OPTIONS["balanced"]
    photos = [pixels(40 + 8 * (number % 3), 56) for number in range(6)]
    alone = [labeler.label_one(photo, ["cat"], options) for photo in photos]
    together = results(labeler, [LabelRequest(photo, ["cat"]) for photo in photos], options)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.cams, other.cams, atol=1e-4)

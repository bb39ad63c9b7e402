"""Either mask of a label can be judged, refined or not, with every pixel decided or some left open."""

from functools import partial

import numpy as np
import pytest

from toco.model.errors import TocoError
from toco.model.evaluation.evaluate import Sample
from toco.model.evaluation.judged_labels import judged_options, predictor
from toco.model.labelling.labeler import Labeler
from toco.model.options import preset_options


def test_options_compute_the_judged_mask_alone():
    paper = preset_options("paper")
    decided = judged_options(paper, "pseudo_mask")
    assert (decided.refine, decided.segmentation, decided.ignore_band) == ("crf", None, False)
    raw = judged_options(paper, "pseudo_mask", crf=False, ignore_band=True)
    assert (raw.refine, raw.segmentation, raw.ignore_band) == ("none", None, True)


def test_options_of_the_segmentation_map():
    paper, without = preset_options("paper"), preset_options("balanced", segmentation=None)
    for start in (paper, without):
        options = judged_options(start, "segmentation")
        assert options.segmentation == paper.segmentation
        assert options.refine == "none"  # the pseudo mask is thrown away: make it cheaply
    open_vocabulary = judged_options(paper, "segmentation", crf=False, gate=False).segmentation
    assert open_vocabulary.refine == "none"
    assert not open_vocabulary.gate


@pytest.mark.parametrize("judged", ["pseudo_mask", "segmentation"])
def test_predictor_gives_the_judged_mask(judged, tiny_model, photos):
    labeler = Labeler.from_folder(tiny_model, device="cpu")
    start = preset_options("fast", cam={"size": 64}, segmentation={"scales": [1.0]})
    options = judged_options(start, judged, crf=False)
    truth = partial(np.zeros, (48, 64), np.uint8)
    samples = [(Sample(name, photos / name, truth), ("cat", "dog")) for name in ("a.jpg", "broken.jpg", "b.png")]
    first, error, last = predictor(labeler, options)(samples)
    assert isinstance(error, TocoError)
    for mask, name in ((first, "a.jpg"), (last, "b.png")):
        np.testing.assert_array_equal(mask, getattr(labeler.label_one(photos / name, ("cat", "dog"), options), judged))

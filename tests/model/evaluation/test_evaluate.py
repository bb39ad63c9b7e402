"""Figures come from one confusion matrix over the whole dataset, whatever vocabularies truth and model use."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from toco.model.errors import InvalidArray, TocoError
from toco.model.evaluation.evaluate import (
    ConfusionMatrix,
    EvaluationReport,
    MaskMapping,
    Sample,
    average_precision,
    evaluate,
    markdown_table,
    tags_of_truth,
)
from toco.model.photos.classes import COCO, VOC, UnknownTag, Vocabulary

ANIMALS = VOC.subset(["cat", "dog", "horse"])


def mask(*rows) -> np.ndarray:
    return np.array(rows, np.uint8)


def brute_force_iou(truth, prediction, count):
    """Set arithmetic on pixel positions, over the whole dataset."""
    result = []
    for row in range(count):
        ours = {(n, *at) for n, p in enumerate(prediction) for at in zip(*np.nonzero(p == row), strict=True)}
        theirs = {(n, *at) for n, t in enumerate(truth) for at in zip(*np.nonzero(t == row), strict=True)}
        void = {(n, *at) for n, t in enumerate(truth) for at in zip(*np.nonzero(t == 255), strict=True)}
        ours -= void
        result.append(len(ours & theirs) / len(ours | theirs) if ours | theirs else math.nan)
    return result


def test_iou_agrees_with_set_arithmetic():
    rng = np.random.default_rng(0)
    truth = [rng.choice([0, 1, 2, 3, 255], (9, 7 + n)) for n in range(4)]
    prediction = [rng.choice([0, 1, 2, 3], t.shape) for t in truth]
    matrix = ConfusionMatrix(["a", "b", "c", "never"])
    for pair in zip(truth, prediction, strict=True):
        matrix.update(*pair)
    expected = brute_force_iou(truth, prediction, 5)
    np.testing.assert_allclose(matrix.iou(), expected)
    assert math.isnan(matrix.iou()[4])
    assert matrix.mean_iou() == pytest.approx(np.mean(expected[:4]))
    decided = np.concatenate([(t == p)[t != 255] for t, p in zip(truth, prediction, strict=True)])
    assert matrix.pixel_accuracy() == pytest.approx(decided.mean())
    assert matrix.counts.dtype == np.int64
    assert matrix.counts.sum() == decided.size


def test_dataset_level_is_not_the_mean_of_images():
    matrix = ConfusionMatrix(["a"])
    matrix.update(mask([1, 1, 1, 1]), mask([1, 1, 1, 1]))
    matrix.update(mask([1, 0, 0, 0]), mask([0, 0, 0, 0]))
    assert matrix.iou()[1] == pytest.approx(4 / 5)  # not (1 + 0) / 2


def test_a_class_only_predicted_has_no_part_in_the_mean():
    matrix = ConfusionMatrix(["a", "b"])
    matrix.update(mask([0, 0, 1, 1]), mask([0, 2, 1, 1]))
    assert matrix.iou().tolist() == [0.5, 1.0, 0.0]
    assert matrix.mean_iou() == 0.75


def test_nothing_to_judge_is_no_number():
    matrix = ConfusionMatrix(["a"])
    matrix.update(mask([255]), mask([1]))
    assert math.isnan(matrix.mean_iou())
    assert math.isnan(matrix.pixel_accuracy())
    assert matrix.open_share == 0.0


def test_open_pixels_of_the_prediction():
    truth, prediction = mask([0, 0, 1, 1, 255]), mask([0, 255, 1, 255, 255])
    strict = ConfusionMatrix(["a"])
    strict.update(truth, prediction)
    assert strict.counts.tolist() == [[2, 0], [1, 1]]
    lenient = ConfusionMatrix(["a"], open_pixels="left_out")
    lenient.update(truth, prediction)
    assert lenient.counts.tolist() == [[1, 0], [0, 1]]
    assert strict.open_share == lenient.open_share == 0.5


def test_parts_add_up_to_the_whole():
    rng = np.random.default_rng(1)
    pairs = [(rng.choice([0, 1, 2, 255], (5, 5)), rng.choice([0, 1, 2, 255], (5, 5))) for _ in range(4)]
    whole, left, right = (ConfusionMatrix(["a", "b"]) for _ in range(3))
    for position, pair in enumerate(pairs):
        whole.update(*pair)
        (left if position % 2 else right).update(*pair)
    left.merge(pickle.loads(pickle.dumps(right)))
    np.testing.assert_array_equal(left.counts, whole.counts)
    assert left.open_share == whole.open_share
    for other in (ConfusionMatrix(["a"]), ConfusionMatrix(["a", "b"], open_pixels="left_out")):
        with pytest.raises(InvalidArray, match="Confusion matrices of"):
            whole.merge(other)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (mask([0, 0]), mask([0]), r"\(1, 2\) against a prediction of \(1, 1\)"),
        (mask([2]), mask([0]), "value of 2"),
        (mask([0]), mask([7]), "value of 7"),
        (np.array([[-1]]), mask([0]), "value of -1"),
    ],
)
def test_bad_masks_are_refused(truth, prediction, message):
    with pytest.raises(InvalidArray, match=message):
        ConfusionMatrix(["a"]).update(truth, prediction)


def test_mapping_between_vocabularies():
    cat, dog, horse, person = (VOC.classes[VOC.channel(n)].index for n in ("cat", "dog", "horse", "person"))
    mapping = MaskMapping(VOC, ANIMALS)
    # Persons are not evaluated: background.
    assert mapping(mask([0, cat, dog, horse, person, 255])).tolist() == [[0, 1, 2, 3, 0, 255]]
    # Synonyms join vocabularies, whichever side knows them.
    plane = COCO.classes[COCO.channel("airplane")].index
    assert MaskMapping(COCO, VOC)(mask([plane])).tolist() == [[1]]
    mute = Vocabulary.of_names(["plane"])
    assert MaskMapping(VOC, mute)(mask([1])).tolist() == [[1]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (mask([21]), "index 21, which names no class"),
        (np.zeros((2, 2)), "float64"),
        (np.zeros((2, 2, 3), np.uint8), r"\(2, 2, 3\)"),
    ],
)
def test_mapping_refuses_undefined_indices(bad, message):
    with pytest.raises(InvalidArray, match=message):
        MaskMapping(VOC, ANIMALS)(bad)


def brute_force_ap(scores, truth):
    """Mean over the positives of the precision among all images that score at least as high."""
    positives = np.flatnonzero(truth == 1)
    known = truth >= 0
    return np.mean([(truth[known & (scores >= scores[p])] == 1).mean() for p in positives])


def test_average_precision_agrees_with_its_definition():
    rng = np.random.default_rng(2)
    scores = rng.choice(np.linspace(0, 1, 12), (40, 3)).astype(np.float32)  # with ties
    truth = rng.choice([-1, 0, 1], (40, 3))
    expected = [brute_force_ap(scores[:, c], truth[:, c]) for c in range(3)]
    np.testing.assert_allclose(average_precision(scores, truth), expected)
    perfect = np.array([[0.9], [0.8], [0.1]])
    assert average_precision(perfect, np.array([[1], [1], [0]])).tolist() == [1.0]
    assert math.isnan(average_precision(perfect, np.array([[0], [0], [-1]]))[0])
    with pytest.raises(InvalidArray, match="Scores of"):
        average_precision(perfect, np.array([1, 1, 0]))


def sample(name: str, truth: np.ndarray, tags=None) -> Sample:
    return Sample(name, Path(name), lambda: truth, tags)


def perfect(asked: list):
    """A predictor that knows the truth about animals, and writes down what it was asked."""

    def predict(samples):
        for one, tags in samples:
            asked.append((one.name, tags))
            truth = one.read_truth()
            yield np.where(np.isin(truth, ANIMALS.indices), truth, 0).astype(np.uint8)

    return predict


def test_evaluate_gates_by_the_tags_that_the_model_knows():
    asked: list = []
    samples = [
        sample("a", mask([0, 8, 15]), ("kitten", "person", "unicorn")),
        sample("b", mask([0, 0, 15]), ("person",)),
        sample("c", mask([12, 255, 0])),
    ]
    ticks: list[int] = []
    report = evaluate(
        samples,
        perfect(asked),
        truth_classes=VOC,
        model_classes=ANIMALS,
        classes=None,
        settings={"preset": "fast"},
        on_image=lambda: ticks.append(1),
    )
    # Only background on "b" for this model: nothing to ask. The tags of "c" are read off its truth.
    assert report.images == 3
    assert len(ticks) == 3
    assert asked == [("a", ("cat",)), ("c", ("dog",))]
    # True pixels of persons, whom this model does not know, are background.
    assert report.per_class_iou == {"background": 1.0, "cat": 1.0, "dog": 1.0}  # no horse anywhere
    assert report.miou == 1.0
    assert report.pixel_accuracy == 1.0
    assert report.confusion == [[6, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert report.settings["tags_left_out"] == {"person": 2, "unicorn": 1}
    assert report.settings["mean_over"] == ["background", "cat", "dog"]
    assert report.settings["preset"] == "fast"
    assert report.settings["gate"] is True
    assert report.seconds >= 0


def test_the_predictor_may_speak_another_vocabulary():
    model = Vocabulary.of_names(["Motorcycle", "cat"])
    wanted = []

    def predict(samples):
        for _, tags in samples:
            wanted.append(tags)
            yield mask([0, 1])

    report = evaluate([sample("a", mask([0, 14]))], predict, truth_classes=VOC, model_classes=model)
    assert wanted == [("Motorcycle",)]  # VOC says motorbike and knows the other spelling
    assert report.per_class_iou["Motorcycle"] == 1.0


def test_evaluate_some_classes_only():
    asked: list = []
    samples = [sample("a", mask([8, 12, 13]), ("cat", "dog", "horse")), sample("b", mask([12, 0, 0]), ("dog",))]
    report = evaluate(samples, perfect(asked), truth_classes=VOC, model_classes=ANIMALS, classes=["cat"])
    assert asked == [("a", ("cat", "dog", "horse")), ("b", ("dog",))]  # tags of other classes still gate
    assert report.confusion == [[5, 0], [0, 1]]
    with pytest.raises(UnknownTag, match="zebra"):
        evaluate(samples, perfect(asked), truth_classes=VOC, model_classes=ANIMALS, classes=["zebra"])


def test_evaluate_without_a_gate():
    asked: list = []
    samples = [sample("a", mask([0, 15]), ("person",))]
    report = evaluate(samples, perfect(asked), truth_classes=VOC, model_classes=ANIMALS, gate=False)
    assert asked == [("a", None)]
    assert report.settings["gate"] is False


def test_evaluate_goes_on_after_a_failure_and_reports_it():
    class Broken(TocoError):
        code = "broken"

    samples = [sample("a", mask([8])), sample("b", mask([12]))]
    report = evaluate(
        samples, lambda _: iter([Broken("a is damaged."), mask([12])]), truth_classes=VOC, model_classes=ANIMALS
    )
    assert report.images == 1
    assert report.settings["failed"] == {"a": "a is damaged."}


def test_evaluate_names_the_image_whose_mask_does_not_fit():
    with pytest.raises(InvalidArray, match=r"photo7: Truth of \(1, 1\)"):
        evaluate([sample("photo7", mask([8]))], lambda _: iter([mask([8, 8])]), truth_classes=VOC, model_classes=VOC)


def test_tags_of_truth():
    assert tags_of_truth(mask([0, 15, 8, 255]), VOC) == ("cat", "person")


def report_of(counts, names, **settings) -> EvaluationReport:
    matrix = ConfusionMatrix(names)
    matrix.counts += np.array(counts)
    return EvaluationReport.of(matrix, images=3, seconds=1.5, settings=settings)


def test_json_is_stable():
    counts = [[8, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    report = report_of(counts, ["horse", "cat", "dog"], preset="fast")
    assert json.loads(report.model_dump_json()) == {
        "miou": pytest.approx((8 / 9 + 1 / 2) / 2),
        "per_class_iou": {"background": pytest.approx(8 / 9), "cat": 0.5},
        "confusion": [[8, 0], [1, 1]],
        "images": 3,
        "settings": {"preset": "fast"},
        "seconds": 1.5,
    }
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report
    empty = report_of(np.zeros((2, 2), np.int64), ["cat"])
    assert json.loads(empty.model_dump_json())["miou"] is None
    assert (empty.per_class_iou, empty.confusion) == ({}, [])
    assert empty.pixel_accuracy is None


def test_tables_stand_side_by_side():
    narrow = report_of([[8, 0], [1, 1]], ["cat"])
    wide = report_of([[8, 0, 0], [0, 0, 0], [0, 0, 3]], ["cat", "dog"])
    assert markdown_table({"six": narrow, "sixteen": wide}) == (
        "| class | six | sixteen |\n"
        "|---|---:|---:|\n"
        "| background | 88.9 | 100.0 |\n"
        "| cat | 50.0 | - |\n"
        "| dog | - | 100.0 |\n"
        "| **mIoU** | **69.4** | **100.0** |\n"
    )

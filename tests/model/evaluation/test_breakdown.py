"""Figures of parts: photos by number of tags, objects by size, and boundaries."""

import numpy as np
import pytest

from toco.model.evaluation.breakdown import Breakdown, boundary_counts, broken_down, classes_shown, markdown_breakdown
from toco.model.evaluation.evaluate import ConfusionMatrix, EvaluationReport


def square(side, start, length, row=1):
    """(side, side) rows with a square of a class on background."""
    rows = np.zeros((side, side), np.int16)
    rows[start : start + length, start : start + length] = row
    return rows


def test_photos_are_told_apart_by_their_number_of_tags():
    breakdown = Breakdown(["cat", "dog"])
    good, bad = square(40, 10, 20), square(40, 10, 20, row=2)
    breakdown.update(good, good, 1)
    breakdown.update(bad, good, 3)
    breakdown.update(np.zeros((40, 40), np.int16), np.zeros((40, 40), np.int16), 0)
    figures = breakdown.report().by_tags
    assert {name: group.images for name, group in figures.items()} == {"one tag": 1, "several tags": 1, "all": 3}
    assert figures["one tag"].miou == 1.0
    assert figures["several tags"].per_class_iou["dog"] == 0.0
    assert figures["several tags"].miou == 0.5


def test_objects_are_told_apart_by_their_share_of_the_photo():
    breakdown = Breakdown(["cat"])
    small, large = square(100, 10, 10), square(100, 10, 60)
    breakdown.update(small, square(100, 10, 5), 1)
    breakdown.update(large, large, 1)
    sizes = breakdown.report().by_size
    assert list(sizes) == ["under 2 %", "2 % to 10 %", "10 % to 25 %", "over 25 %"]
    assert (sizes["under 2 %"].objects, sizes["under 2 %"].iou) == (1, 0.25)
    assert (sizes["over 25 %"].objects, sizes["over 25 %"].iou) == (1, 1.0)
    assert (sizes["2 % to 10 %"].objects, sizes["2 % to 10 %"].iou) == (0, None)


def test_a_boundary_that_is_nearly_right_is_right():
    truth = square(400, 100, 200)
    near, far = np.roll(truth, 3, axis=1), np.roll(truth, 30, axis=1)
    exact = boundary_counts(truth, truth, 1)[1]
    assert exact[0] == exact[1] == exact[2] == exact[3] == 4 * 200 - 4
    assert boundary_counts(truth, near, 1)[1, 1] == exact[0]
    assert boundary_counts(truth, far, 1)[1, 1] < 0.75 * exact[0]


def test_the_edge_of_the_photo_is_no_boundary():
    truth = np.ones((50, 50), np.int16)
    assert boundary_counts(truth, truth, 1).sum() == 0
    truth[:, 25:] = 0
    assert boundary_counts(truth, truth, 1)[1, 0] == 50


def test_pixels_that_the_truth_leaves_out_count_nowhere():
    truth = square(40, 10, 20)
    truth[:5] = 255
    wrong_there = truth.copy()
    wrong_there[:5] = 1
    breakdown = Breakdown(["cat"])
    breakdown.update(truth, wrong_there, 1)
    report = breakdown.report()
    assert report.by_tags["all"].miou == 1.0
    assert report.by_size["over 25 %"].iou == 1.0


def test_figures_of_nothing_are_none():
    report = Breakdown(["cat"]).report()
    assert report.by_tags["all"].miou is None
    assert report.by_tags["all"].boundary_f is None
    assert "| one tag | 0 | - | - |" in markdown_breakdown(report)


def test_the_report_of_the_whole_keeps_its_figures_beside_the_parts():
    matrix = ConfusionMatrix(["cat"])
    truth = square(40, 10, 20)
    matrix.update(truth, truth)
    breakdown = Breakdown(["cat"])
    breakdown.update(truth, truth, 1)
    whole = EvaluationReport.of(matrix, images=1, seconds=0.0, settings={})
    report = broken_down(whole, breakdown)
    assert report.miou == whole.miou == report.breakdown.by_tags["one tag"].miou
    assert type(report).model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(("rows", "expected"), [([[0, 255]], 0), ([[1, 1]], 1), ([[0, 2, 1]], 2)])
def test_classes_are_counted_without_background(rows, expected):
    assert classes_shown(np.array(rows, np.int16)) == expected

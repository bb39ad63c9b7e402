"""What a run shows: TensorBoard reads back the losses, figures and panels that were written."""

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from toco.model.evaluation.evaluate import Sample
from toco.model.training.monitor import PANEL_PHOTOS, Monitor
from toco.model.weights_io.checkpoint import load_model


def events(folder):
    found = EventAccumulator(str(folder / "events"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def test_scalars_are_written_by_step(tmp_path, tiny_model):
    monitor = Monitor(tmp_path, load_model(tiny_model)[1])
    for step in (1, 2, 3):
        monitor.scalars(step, {"cls": 1.0 / step, "ptc": 0.5}, 0.001 * step)
    monitor.close()
    found = events(tmp_path)
    assert set(found.Tags()["scalars"]) == {"loss/cls", "loss/ptc", "learning_rate"}
    assert [(entry.step, entry.value) for entry in found.Scalars("loss/cls")] == [
        (1, pytest.approx(1.0)), (2, pytest.approx(1 / 2)), (3, pytest.approx(1 / 3)),
    ]  # fmt: skip
    assert [entry.value for entry in found.Scalars("learning_rate")] == pytest.approx([0.001, 0.002, 0.003])


def test_the_model_is_judged_on_photos_with_masks(tmp_path, tiny_model, photo_folder):
    network, spec = load_model(tiny_model)
    spec = spec.model_copy(update={"input_size": 64})
    tags = {"cat": ("cat",), "dog": ("dog",)}
    samples = []
    for name, names in tags.items():
        path = photo_folder / f"{name}.png"
        with Image.open(path) as image:
            truth = np.full((image.height, image.width), 8, np.uint8)
        samples.append(Sample(name, path, lambda truth=truth: truth, names))
    monitor = Monitor(tmp_path, spec, samples=samples, classes=("cat",))
    monitor.evaluate(7, network)
    monitor.close()
    ((step, report),) = monitor.reports
    assert step == 7
    assert set(report.per_class_iou) >= {"background", "cat"}
    found = events(tmp_path)
    (miou,) = found.Scalars("evaluation/miou")
    assert (miou.step, miou.value) == (7, pytest.approx(report.miou))
    assert found.Scalars("evaluation/iou/cat")[0].value == pytest.approx(report.per_class_iou["cat"])
    (panel,) = found.Images("evaluation/panel")
    assert panel.width > 64
    assert len(samples) <= PANEL_PHOTOS


def test_without_masks_nothing_is_judged(tmp_path, tiny_model):
    network, spec = load_model(tiny_model)
    monitor = Monitor(tmp_path, spec)
    monitor.evaluate(1, network)
    monitor.close()
    assert monitor.reports == []
    assert "evaluation/panel" not in events(tmp_path).Tags()["images"]

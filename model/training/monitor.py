"""What a run shows while it trains: TensorBoard scalars and image panels, and figures on photos with masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from toco.model.evaluation.evaluate import EvaluationReport, Sample, evaluate
from toco.model.evaluation.judged_labels import judged_options, predictor
from toco.model.labelling.labeler import Labeler
from toco.model.method.network import ToCoNetwork
from toco.model.options import preset_options
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import read_image
from toco.model.photos.pictures import Picture, SheetRow, contact_sheet
from toco.model.spec import ModelSpec

PANEL_PHOTOS = 8


class Monitor:
    """Writes TensorBoard events into a run's folder.

    Args:
        folder: of the run.
        spec: of the model in training.
        samples: photos with masks to judge it by; none judges nothing.
        truth_classes: vocabulary of their masks.
        classes: judge only these classes; None judges all.
    """

    def __init__(
        self,
        folder: Path,
        spec: ModelSpec,
        *,
        samples: Sequence[Sample] = (),
        truth_classes: Vocabulary | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.spec = spec
        self.samples = samples
        self.truth_classes = truth_classes or spec.vocabulary
        self.classes = classes
        self.options = judged_options(preset_options("fast"), "pseudo_mask", crf=False)
        self.reports: list[tuple[int, EvaluationReport]] = []
        self._events = SummaryWriter(str(folder / "events"))

    def scalars(self, step: int, losses: Mapping[str, float], rate: float) -> None:
        """Write the losses and the learning rate of a step."""
        for name, value in losses.items():
            self._events.add_scalar(f"loss/{name}", value, step)
        self._events.add_scalar("learning_rate", rate, step)

    def evaluate(self, step: int, network: ToCoNetwork) -> None:
        """Judge the CAMs (one scale, tags gated, no CRF) and draw a panel of photos."""
        if not self.samples:
            return
        labeler = Labeler(network, self.spec, device=str(next(network.parameters()).device))
        report = evaluate(
            self.samples,
            predictor(labeler, self.options),
            truth_classes=self.truth_classes,
            model_classes=self.spec.vocabulary,
            classes=self.classes,
            settings={"preset": "fast", "crf": False},
        )
        self.reports.append((step, report))
        if report.miou is not None:
            self._events.add_scalar("evaluation/miou", report.miou, step)
        for name, value in report.per_class_iou.items():
            if value is not None:
                self._events.add_scalar(f"evaluation/iou/{name}", value, step)
        self._events.add_image("evaluation/panel", self._panel(labeler), step, dataformats="HWC")

    def _panel(self, labeler: Labeler) -> Picture:
        rows = []
        for sample in self.samples[:PANEL_PHOTOS]:
            label = labeler.label_one(sample.image, sample.tags, self.options)
            image = read_image(sample.image, long_side=self.options.long_side).pixels
            rows.append(SheetRow(sample.name, label.tags, image, label.cams, label.pseudo_mask))
        return contact_sheet(rows, self.spec.vocabulary)

    def close(self) -> None:
        """Write what is still held back."""
        self._events.close()

"""Rounds of self-training: what a fit on the photos says trains the network, whose tokens the next fit reads.

    OUT/round-1/labels/       parts of the soft labels, then `soft_labels.npy` and `soft_labels.json`
    OUT/round-1/run/          the training run on them (`trainer.Trainer`), its model in `run/model`
    OUT/average/              the model that averages those of the last rounds, where that is asked for
    OUT/rounds.json           what each finished round gave

Every step is taken up where it was stopped: parts of the labels that are there are not made again, training resumes
from its checkpoint, and finished rounds stay finished.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from toco.model.errors import InvalidOption, TocoError
from toco.model.learning.learn import learn_words
from toco.model.learning.learnt_model import LearntModel, load_learnt_model, save_learnt_model
from toco.model.learning.learnt_spec import is_learnt_model
from toco.model.learning.planning import plan_learning
from toco.model.learning.targets import contoured_label, following_edges, known_label, soft_label
from toco.model.learning.tokens import ModelTokens
from toco.model.method.device import Device, choose_device
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.model.photos.images import read_image, read_mask
from toco.model.training.averaging import average_models
from toco.model.training.config import TrainConfig, merge
from toco.model.training.data import TrainingPhoto, vocabulary_of
from toco.model.training.progress import TRAINING, RunProgress
from toco.model.training.saliency import read_saliency_network
from toco.model.training.soft_labels import INDEX_FILE, write_soft_labels
from toco.model.training.stopping import TrainingStopped
from toco.model.training.trainer import Trainer
from toco.model.weights_io.checkpoint import load_model
from toco.model.whole_file import write_whole

RESULTS_FILE = "rounds.json"
AVERAGE = "average"
PART = 200  # photos whose labels are written together

Judge = Callable[[Path], dict[str, Any]]
Report = Callable[[RunProgress], None]


def run_rounds(
    config: TrainConfig,
    photos: tuple[TrainingPhoto, ...],
    out: Path,
    *,
    judge: Judge,
    device: str = "auto",
    report: Report = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Run all rounds of a configuration that are not finished yet.

    Args:
        config: of each round's training; `backbone.initial` is the folder of the model that round 1 starts from.
        photos: the training set.
        out: folder of the rounds.
        judge: returns the figures of a model folder, for the table.
        device: name as in `choose_device`.
        report: called after each photo and each step; what it raises ends the run, which can be taken up again.
        stop: asked after each step of training; once it says so, the run ends with a checkpoint.

    Returns:
        A row a round: its number and the figures of `judge`; row 0 is the start, and the average comes last.

    Raises:
        InvalidOption: the configuration does not start from a model.
        TrainingStopped: `stop` said so before the end.
    """
    model = Path(config.backbone.initial)
    if not model.is_dir():
        raise InvalidOption(
            f"Rounds that start from {config.backbone.initial!r}.",
            fix="Set backbone.initial to the folder of a model that was trained before.",
        )
    out.mkdir(parents=True, exist_ok=True)
    results = out / RESULTS_FILE
    rows: list[dict[str, Any]] = json.loads(results.read_text("utf-8")) if results.exists() else []
    if not rows:
        rows = [{"round": 0, **judge(model)}]
        _write(results, rows)
    if len(rows) <= config.rounds.count + 1:  # else an average that is there is of these rounds
        rows = [row for row in rows if row["round"] != AVERAGE]
    for number in range(1, config.rounds.count + 1):
        folder = out / f"round-{number}"
        if number >= len(rows):
            name = f"round {number}"
            make_soft_labels(
                model,
                config,
                photos,
                folder / "labels",
                by="fit" if number == 1 else "network",
                device=device,
                report=report,
                name=name,
            )
            trainer = _trainer(config, photos, folder, model, device=device, report=report, name=name)
            trainer.run(stop=stop)
            if not trainer.finished:
                raise TrainingStopped(
                    f"Stopped in round {number} at step {trainer.step} of {config.schedule.steps}.",
                    fix="Start it again with the same settings to go on.",
                )
            rows.append({"round": number, **judge(trainer.model_folder)})
            _write(results, rows)
        model = folder / "run" / "model"
    averaged = config.rounds.averaged
    if averaged > 1 and len(rows) == config.rounds.count + 1:
        numbers = range(config.rounds.count + 1 - min(averaged, config.rounds.count), config.rounds.count + 1)
        average_models([out / f"round-{number}" / "run" / "model" for number in numbers], final_model(config, out))
        rows.append({"round": AVERAGE, **judge(final_model(config, out))})
        _write(results, rows)
    return rows


def final_model(config: TrainConfig, out: Path) -> Path:
    """Return the folder of the model that all rounds of a configuration end with."""
    if config.rounds.averaged > 1:
        return out / AVERAGE
    return out / f"round-{config.rounds.count}" / "run" / "model"


def make_soft_labels(
    model: Path,
    config: TrainConfig,
    photos: Sequence[TrainingPhoto],
    folder: Path,
    *,
    by: Literal["fit", "network"] = "fit",
    device: str = "auto",
    report: Report = lambda _: None,
    name: str = "labels",
) -> None:
    """Write the soft labels of all photos.

    Args:
        model: folder of the model that reads the photos.
        config: names the classes, the saliency network (a second prior, if there is one) and the input size.
        photos: the training set.
        folder: receives the labels; what of them is there already is kept.
        by: `fit` fits all classes to the tokens, known to the model or not; `network` takes the CAMs and the decoder of
            a model that knows all classes.
        device: name as in `choose_device`.
        report: see `run_rounds`.
        name: of the round, for reports.
    """
    if (folder / INDEX_FILE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = vocabulary_of(config)

    def tell(stage: str, done: int, of: int) -> None:
        report(RunProgress(f"{name}: {stage}", done, of))

    def labelled(before: int, row: int) -> None:
        tell("labelling", before + row, len(photos))

    reader = _reader(model, config, choose_device(device, config.precision))
    words = None
    if by == "fit":
        words = _fitted(folder / "fit", config, photos, reader, partial(tell, "learning"))
    parts = [photos[start : start + PART] for start in range(0, len(photos), PART)]
    for number, part in enumerate(parts):
        target = folder / f"part-{number:04d}.safetensors"
        if not target.exists():
            _write_part(target, part, reader, words, vocabulary, on_photo=partial(labelled, number * PART))
    write_soft_labels(folder, _joined(parts, folder, vocabulary))
    for path in folder.glob("part-*.safetensors"):
        path.unlink()


def _fitted(
    folder: Path,
    config: TrainConfig,
    photos: Sequence[TrainingPhoto],
    reader: ModelTokens,
    on_photo: Callable[[int, int], None],
) -> LearntModel:
    """Return the fit of all classes; made once, then read from its folder."""
    if not is_learnt_model(folder):
        names = vocabulary_of(config).names
        tags = [[names[k] for k in photo.tags.nonzero().flatten().tolist()] for photo in photos]
        learnt = learn_words(
            config.name or folder.name,
            tags,
            lambda position: read_image(photos[position].path, long_side=2 * reader.side).pixels,
            reader,
            masks=_masks_of_words(photos, names, plan_learning(tags).words),
            fit=config.rounds.fit,
            on_photo=on_photo,
        )
        save_learnt_model(folder, learnt)
    return load_learnt_model(folder)


def _masks_of_words(
    photos: Sequence[TrainingPhoto], names: Sequence[str], words: Sequence[str]
) -> dict[int, Callable[[], np.ndarray[Any, np.dtype[np.uint8]]]]:
    """Return what reads people's masks, with `1 + position` of each class among the words, by photo.

    All of them at once are many times larger than the tokens that are kept of them.
    """
    values = np.zeros(256, np.uint8)
    values[IGNORE] = IGNORE
    for position, word in enumerate(words):
        values[1 + names.index(word)] = 1 + position

    def read(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return values[read_mask(path)]

    return {number: partial(read, photo.mask) for number, photo in enumerate(photos) if photo.mask is not None}


def _write_part(
    target: Path,
    photos: Sequence[TrainingPhoto],
    reader: ModelTokens,
    words: LearntModel | None,
    vocabulary: Vocabulary,
    *,
    on_photo: Callable[[int], None],
) -> None:
    found: dict[str, torch.Tensor] = {}
    for row, photo in enumerate(photos):
        on_photo(row + 1)
        try:
            pixels = read_image(photo.path, long_side=2 * reader.side).pixels
        except TocoError:
            continue  # the report on the photos names it
        tagged = photo.tags.nonzero().flatten().tolist()
        if photo.mask is not None:
            found[str(row)] = _bytes_of(known_label(read_mask(photo.mask), tagged))
            continue
        names = [vocabulary.names[k] for k in tagged]
        if words is not None:
            channels = [words.spec.vocabulary.channel(name) for name in names]
            labels = following_edges(soft_label(reader.read([pixels])[0], words, channels), pixels)
        elif names:
            labels = contoured_label(reader.maps(pixels, reader.vocabulary.channels(names)), pixels)
        else:
            labels = following_edges(torch.ones(1, 1, 1), pixels)
        found[str(row)] = _bytes_of(labels)
    unfinished = target.with_suffix(".partial")
    save_file(found, unfinished)
    unfinished.replace(target)


def _bytes_of(labels: np.ndarray[Any, np.dtype[np.float32]]) -> torch.Tensor:
    return torch.from_numpy(np.rint(255.0 * labels).astype(np.uint8))


def _joined(
    parts: Sequence[Sequence[TrainingPhoto]], folder: Path, vocabulary: Vocabulary
) -> Iterator[tuple[str, list[str], np.ndarray[Any, Any]]]:
    for number, photos in enumerate(parts):
        maps = load_file(folder / f"part-{number:04d}.safetensors")
        for row, photo in enumerate(photos):
            if str(row) in maps:
                names = [vocabulary.names[k] for k in photo.tags.nonzero().flatten().tolist()]
                yield str(photo.path), names, maps[str(row)].numpy() / 255.0


def _reader(model: Path, config: TrainConfig, device: Device) -> ModelTokens:
    network, spec = load_model(model)
    cue = config.saliency.network
    saliency = None if cue is None else read_saliency_network(cue).to(device.device)
    return ModelTokens(network.to(device.device), spec, device, side=config.rounds.side, saliency=saliency)


def _trainer(
    config: TrainConfig,
    photos: tuple[TrainingPhoto, ...],
    folder: Path,
    model: Path,
    *,
    device: str,
    report: Report,
    name: str,
) -> Trainer:
    changes = {
        "backbone": {"initial": str(model)},
        "soft_labels": {"folder": folder / "labels"},
        "saliency": {"network": None},  # its opinion is in the labels
    }
    run = TrainConfig.model_validate(merge(config.model_dump(), changes))
    return Trainer(
        run,
        photos,
        folder / "run",
        device=device,
        report=lambda progress: report(replace(progress, stage=f"{name}: {TRAINING}")),
    )


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    write_whole(path, (json.dumps(rows, indent=1) + "\n").encode())


def rounds_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return what each round gave as a Markdown table, figures in percent."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("round", "model")))
    lines = [f"| round | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for row in rows:
        cells = ["-" if row.get(name) is None else f"{100 * row[name]:.1f}" for name in names]
        lines.append(f"| {row['round'] or 'start'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

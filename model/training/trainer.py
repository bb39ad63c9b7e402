"""The training loop: schedule, precision, accumulation, DDP, checkpoints that resume exactly, and a loss guard.

References:
    ToCo, section 4.1.
"""

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from toco.model.errors import TocoError
from toco.model.method.backbone import native_image_size
from toco.model.method.device import Device, choose_device
from toco.model.method.network import ToCoNetwork
from toco.model.spec import BackboneSpec, ModelSpec
from toco.model.training.config import TrainConfig
from toco.model.training.data import (
    ResumableSampler,
    Sample,
    TaggedPhotos,
    TrainingPhoto,
    sampling_weights,
    vocabulary_of,
)
from toco.model.training.initial_weights import load_initial_model, load_initial_weights
from toco.model.training.progress import TRAINING, RunProgress
from toco.model.training.run_checkpoint import CHECKPOINT_FILE, read_checkpoint, write_checkpoint
from toco.model.training.saliency import saliency_maps
from toco.model.training.schedule import learning_rate_factor
from toco.model.training.soft_labels import read_soft_labels
from toco.model.training.step import Batch, Trainee, autocast, parameter_groups
from toco.model.training.stopping import deaf_to_signals
from toco.model.weights_io.checkpoint import save_model
from toco.model.whole_file import write_whole

LOG_FILE = "losses.jsonl"
SALIENCY_FILE = "saliency.npy"
# Of a model whose decoder learnt from a cue, and of one whose CAMs learnt places from it too and so need less of it.
CUED_DECODER_WEIGHT = 0.3
PLACED_DECODER_WEIGHT = 0.08


class LossNotFinite(TocoError):
    """A loss became NaN or infinite."""

    code = "loss_not_finite"


class Trainer:
    """Trains one model; makes a checkpoint from time to time and resumes from it bit for bit.

    Args:
        config: the run.
        photos: what it trains on.
        out: folder for checkpoint, losses and the finished model.
        device: name as in `choose_device`.
        report: called after each step.
        on_saliency: called with the number of photos whose saliency cue is computed.
    """

    def __init__(
        self,
        config: TrainConfig,
        photos: tuple[TrainingPhoto, ...],
        out: Path,
        *,
        device: str = "auto",
        report: Callable[[RunProgress], None] = lambda _: None,
        on_saliency: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.config = config
        soft = config.soft_labels.folder
        self.soft_labels = read_soft_labels(soft) if soft else None
        if self.soft_labels is not None:
            photos = tuple(photo for photo in photos if str(photo.path) in self.soft_labels.rows)
        self.photos = photos
        self.out = out
        self.report = report
        self.rank, self.world = _processes()
        self.device: Device = choose_device(_local_device(device), config.precision)
        torch.manual_seed(config.seed)
        self.spec = initial_spec(config).model_copy(update={"name": config.name or out.resolve().name})
        network = ToCoNetwork.from_spec(self.spec, pretrained=config.backbone.initial == "timm")
        if Path(config.backbone.initial).is_dir():
            load_initial_model(network, self.spec.vocabulary, Path(config.backbone.initial))
        elif config.backbone.initial not in ("timm", "random"):
            load_initial_weights(network.encoder, config.backbone.initial)
        # Copied before its blocks are compiled: the copy is only written, and run to judge it.
        self.average = copy.deepcopy(network).to(self.device.device).requires_grad_(requires_grad=False)
        if config.compile:
            for block in network.encoder.vit.blocks:
                block.compile(dynamic=False)
        self.trainee = Trainee(network, config).to(self.device.device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.trainee, config),
            betas=config.schedule.betas,
            weight_decay=config.schedule.weight_decay,
            fused=self.device.device.type in ("cuda", "cpu"),
        )
        self.scaler = torch.amp.GradScaler(self.device.device.type, enabled=self.device.dtype == torch.float16)
        self.step = 0
        self.seconds = 0.0  # of training so far, over all resumptions
        out.mkdir(parents=True, exist_ok=True)
        self.saliency = self._saliency_maps(on_saliency)
        if (out / CHECKPOINT_FILE).exists():
            self._resume()

    @property
    def model_folder(self) -> Path:
        """Where the model is written."""
        return self.out / "model"

    @property
    def network(self) -> ToCoNetwork:
        """The network in training."""
        return self.trainee.network

    def run(
        self,
        *,
        until: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        evaluate: Callable[[int, ToCoNetwork], None] | None = None,
    ) -> None:
        """Train to the end of the schedule, or to step `until`, and leave checkpoint and model folder behind.

        Args:
            until: stop after this many steps of the schedule.
            stop: asked after every step; once it says so in any process, training stops as it does at `until`.
            evaluate: called on the first process every `evaluate_every` steps and at the end.

        Raises:
            LossNotFinite: names the photos of the batch.
        """
        schedule = self.config.schedule
        last = min(until or schedule.steps, schedule.steps)
        module: nn.Module = self.trainee
        if self.world > 1:
            module = DistributedDataParallel(self.trainee, find_unused_parameters=True)
        batches = self._batches()
        saved = started = told = time.monotonic()
        first = self.step
        while self.step < last:
            losses = self._one_step(module, batches)
            self.step += 1
            self.seconds, told = self.seconds + time.monotonic() - told, time.monotonic()
            left = (time.monotonic() - started) / (self.step - first) * (last - self.step)
            rate = schedule.learning_rate * learning_rate_factor(self.step - 1, schedule)
            if self.rank == 0:
                self._log(losses, rate)
                self.report(RunProgress(TRAINING, self.step, schedule.steps, losses, rate, left))
            if time.monotonic() - saved >= 60 * self.config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            every = self.config.evaluate_every
            if evaluate and self.rank == 0 and (self.step == schedule.steps or (every and self.step % every == 0)):
                evaluate(self.step, self.average.eval())
            if self._any(stop()):
                break
        self.save()

    @property
    def finished(self) -> bool:
        """Whether the schedule is at its end."""
        return self.step >= self.config.schedule.steps

    def _any(self, mine: bool) -> bool:
        """Say whether any process of the run says so."""
        if self.world == 1:
            return mine
        said = torch.tensor(float(mine), device=self.device.device)
        dist.all_reduce(said)
        return bool(said > 0)

    def _one_step(self, module: nn.Module, batches: Iterator[tuple[Batch, list[int]]]) -> dict[str, float]:
        schedule = self.config.schedule
        factor = learning_rate_factor(self.step, schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        summed: dict[str, float] = {}
        for turn in range(schedule.accumulate):
            batch, indices = next(batches)
            rng = np.random.default_rng([self.config.seed, self.step, turn, self.rank])
            with autocast(self.device.device, self.device.dtype):
                losses = module(batch, self.step / schedule.steps, rng)
            self._guard(losses.total, losses.parts, indices)
            self.scaler.scale(losses.total / schedule.accumulate).backward()
            for name, value in losses.parts.items():
                summed[name] = summed.get(name, 0.0) + float(value.detach()) / schedule.accumulate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.trainee.contrast.update_teacher()
        self._update_average()
        return summed

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the averaged network towards the one in training; faster at first, when the start is still in it."""
        momentum = min(self.config.schedule.average, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1.0 - momentum)

    def _guard(self, total: Tensor, parts: dict[str, Tensor], indices: list[int]) -> None:
        if math.isfinite(float(total.detach())):
            return
        broken = ", ".join(f"{name} = {float(value.detach())}" for name, value in parts.items())
        names = ", ".join(self.photos[index].path.name for index in indices)
        raise LossNotFinite(
            f"Step {self.step}: {broken} on {names}.", fix="Look at these photos, or lower the learning rate."
        )

    def _batches(self) -> Iterator[tuple[Batch, list[int]]]:
        schedule = self.config.schedule
        used = self.step * schedule.accumulate * schedule.batch_size
        soft = self.config.soft_labels
        sampler = ResumableSampler(
            len(self.photos),
            seed=self.config.seed,
            rank=self.rank,
            world=self.world,
            start=used,
            weights=sampling_weights(self.photos, soft.balance) if soft.folder else None,
        )
        loader: DataLoader[Sample] = DataLoader(
            TaggedPhotos(self.photos, self.config, self.saliency, self.soft_labels),
            batch_size=schedule.batch_size,
            sampler=sampler,
            num_workers=self.config.workers,
            worker_init_fn=deaf_to_signals,
            persistent_workers=self.config.workers > 0,
            pin_memory=self.device.device.type == "cuda",
        )
        for sample in loader:
            moved = {name: sample[name].to(self.device.device, non_blocking=True) for name in Batch._fields}
            yield Batch(**moved), sample["index"].tolist()

    def _saliency_maps(self, report: Callable[[int], None]) -> npt.NDArray[np.uint8] | None:
        """Return the photos' saliency cues; the first process computes them, the others wait."""
        if self.config.saliency.network is None:
            return None
        paths = [photo.path for photo in self.photos]
        if self.rank:
            dist.barrier()
        maps = saliency_maps(paths, self.config.saliency, self.device, self.out / SALIENCY_FILE, report=report)
        if self.world > 1 and not self.rank:
            dist.barrier()
        return maps

    def _log(self, losses: dict[str, float], rate: float) -> None:
        row = {"step": self.step, "rate": rate} | {name: round(value, 6) for name, value in losses.items()}
        with (self.out / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write the checkpoint (atomically) and the model folder; the first process only."""
        if self.rank:
            return
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "trainee": self.trainee.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        write_checkpoint(self.out, state, self.config, self.photos)
        provenance = {
            "steps": self.step,
            "processes": self.world,
            "hours": round(self.seconds / 3600, 2),
            "configuration": json.loads(self.config.model_dump_json()),
        }
        save_model(self.model_folder, self.average, self.spec.model_copy(update={"provenance": provenance}))

    def _resume(self) -> None:
        state = read_checkpoint(self.out, self.config, self.photos, device=self.device.device)
        self.trainee.load_state_dict(state["trainee"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["torch_rng"].cpu())
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])
        if self.rank == 0:
            self._forget_lost_steps()

    def _forget_lost_steps(self) -> None:
        """Take steps out of the log that were made after the checkpoint: they are made again."""
        log = self.out / LOG_FILE
        if log.exists():
            # A run that was killed may have left half a line.
            kept = [line for line in log.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
            write_whole(log, "".join(line for line in kept if json.loads(line)["step"] <= self.step).encode())


def initial_spec(config: TrainConfig) -> ModelSpec:
    """Return the spec of the model that a configuration trains."""
    return ModelSpec(
        name=config.name,
        backbone=BackboneSpec(
            name=config.backbone.name,
            image_size=config.backbone.image_size or native_image_size(config.backbone.name),
            arguments=config.backbone.arguments,
        ),
        aux_layer=config.backbone.aux_layer,
        classes=vocabulary_of(config).classes,
        thresholds=config.thresholds,
        decoder_weight=_decoder_weight(config),
        licence="see MODEL_CARD.md",
    )


def _decoder_weight(config: TrainConfig) -> float:
    if not (config.saliency.network or config.soft_labels.folder):
        return 0.0
    return PLACED_DECODER_WEIGHT if config.loss.cam else CUED_DECODER_WEIGHT


def _processes() -> tuple[int, int]:
    """Return this process's rank and how many there are, joining the group that `torchrun` describes."""
    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def _local_device(name: str) -> str:
    if name in ("auto", "cuda") and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name

"""Train the detector of one cell: resumable, the same from any number of workers."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning import LightningDataModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from lesionforge.data.lineage import check_sources
from lesionforge.data.subject import Subject
from lesionforge.data.volume import read_volume
from lesionforge.detection.config import DetectorConfig
from lesionforge.detection.data import Case, PatchDataset, StepSampler, read_case
from lesionforge.detection.module import DetectorModule
from lesionforge.detection.networks import LOGIT_LIMIT, PRIOR, network_state
from lesionforge.errors import LesionForgeError
from lesionforge.hardware import find_device, resolve_precision
from lesionforge.preprocessing.quality import usual_figures
from lesionforge.provenance import atomic, read_tsv, sha256, write_json, write_tsv
from lesionforge.training import (
    CHECKPOINT,
    IDENTITY,
    Checkpoint,
    Progress,
    cluster_plugins,
    find_checkpoint,
    identify,
    is_finished,
    machine,
)

logger = logging.getLogger(__name__)


def train_detector(
    training: list[Subject], folder: Path, config: DetectorConfig, seed: int
) -> Path:
    """Train a detector on `training` and write it to `folder`; resumes, and is done once.

    Writes `detector.safetensors`, `detector.json` (configuration, environment, training ids),
    `lineage.json` (every real subject behind every training volume), `losses.tsv` (the loss of
    each step) and TensorBoard logs. A finished folder is left as it is.

    Args:
        training: patients and controls, real and synthetic.
        folder: of this cell.
        config: the detector's configuration.
        seed: of initial weights, patches and augmentation.

    Returns:
        The weights' path.

    Raises:
        DataError: `folder` holds a detector of another configuration, seed or training set.
        LineageError: a training subject does not say who stands behind it.
        LesionForgeError: the training was stopped, or its loss is no number.
    """
    record = {
        "config": asdict(config),
        "seed": seed,
        "logit_limit": LOGIT_LIMIT,
        "prior": PRIOR,
        "training": [s.id for s in training],
        "lineage": lineage(training),
        "channels": list(training[0].channels),
        "voxel_mm": list(read_volume(training[0].brain).grid.voxel_mm),
    }
    identity = identify(record, training)
    if is_finished(folder, "detector.json", identity):
        logger.info("%s is trained already", folder)
        return folder / "detector.safetensors"
    people = tqdm(training, desc="read training subjects", unit="subject")
    cases = [read_case(s) for s in people]
    write_json(folder / IDENTITY, {"identity": identity})
    module, seconds = _fit(cases, folder, config, seed)
    record["seconds"] = round(seconds, 1)
    record |= {"usual_figures": _usual_figures(training), "identity": identity}
    _write_result(folder, module, record)
    return folder / "detector.safetensors"


def _usual_figures(training: Sequence[Subject]) -> dict[str, tuple[float, float]]:
    """Return what the quality figures of the real training subjects are usually like."""
    real = [s for s in training if not s.synthetic]
    table = real[0].root / "quality.tsv" if real else None
    if table is None or not table.exists():
        return {}
    figures = read_tsv(table, participant_id=str)
    own = figures["participant_id"].isin([s.id for s in real])
    return usual_figures(figures[own], real[0].channels)


def lineage(training: Sequence[Subject]) -> dict[str, Any]:
    """Return the content of `lineage.json`: who trains, and who stands behind it.

    Returns:
        `training` (each subject's id to the real ids behind it), `real_subjects` (all of those),
        `participants` (the persons they are scans of) and `patients` (who of `training` has a
        lesion).

    Raises:
        LineageError: it is not known who stands behind a subject.
    """
    check_sources(training)
    sources = {source for s in training for source in s.sources}
    persons = {s.id: s.person for s in training if not s.synthetic}
    return {
        "training": {s.id: sorted(s.sources) for s in training},
        "real_subjects": sorted(sources),
        "participants": sorted({persons.get(source, source) for source in sources}),
        "patients": [s.id for s in training if s.group == "patient"],
    }


def _fit(
    cases: list[Case], folder: Path, config: DetectorConfig, seed: int
) -> tuple[DetectorModule, float]:
    """Train to the last step; return the module and the seconds that all its steps took."""
    module = DetectorModule(config, len(cases[0].volume) - 1, seed)
    # By epochs, not by `max_steps`: Lightning 2.6 never ends a resumed training that counts steps.
    precision = resolve_precision(config.precision, config.accelerator)
    progress = Progress("train detector", config.steps, lambda: module.trainer.global_step)
    trainer = Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        precision=precision,  # type: ignore[arg-type]
        plugins=cluster_plugins(config.devices * config.num_nodes),
        max_epochs=math.ceil(config.steps / config.epoch_steps),
        gradient_clip_val=config.gradient_clip,
        logger=TensorBoardLogger(folder, name="logs", version=""),
        log_every_n_steps=min(10, config.epoch_steps),
        callbacks=[Checkpoint(folder / CHECKPOINT, precision), progress],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(
        module,
        PatchData(cases, config, seed),
        ckpt_path=find_checkpoint(folder, module),
        weights_only=True,
    )
    if not trainer.is_global_zero:
        raise SystemExit(0)  # a process that Lightning started for another device ends here
    if trainer.global_step < config.steps:
        raise LesionForgeError(
            f"{folder}: the training stopped at step {trainer.global_step} of {config.steps}. "
            "Run the same command again to resume it."
        )
    return module, progress.seconds


def _write_result(folder: Path, module: DetectorModule, record: dict[str, Any]) -> None:
    """Write the weights and tables; `detector.json` comes last and marks them complete."""
    curve = pd.DataFrame(module.curve, columns=["step", "loss", "learning_rate"])
    final_loss = float(curve["loss"].tail(50).mean())
    if not math.isfinite(final_loss):
        for name in (CHECKPOINT, IDENTITY):  # nothing of it is worth going on with
            (folder / name).unlink(missing_ok=True)
        raise LesionForgeError(
            f"{folder}: the training diverged (its last losses are {final_loss}). Lower "
            "`detector.learning_rate` and train again."
        )
    with atomic(folder / "detector.safetensors") as part:
        save_file(network_state(module.network), part)
    write_tsv(folder / "losses.tsv", curve)
    write_json(folder / "lineage.json", record.pop("lineage"))
    write_json(
        folder / "detector.json",
        {
            **record,
            "weights_sha256": sha256(folder / "detector.safetensors"),
            "final_loss": final_loss,
            **machine(module.config.precision, module.config.accelerator),
        },
    )
    (folder / CHECKPOINT).unlink(missing_ok=True)


class PatchData(LightningDataModule):
    """Feed each device its part of every step's patches.

    Args:
        cases: the training subjects.
        config: the detector's configuration.
        seed: of the training.
    """

    def __init__(self, cases: list[Case], config: DetectorConfig, seed: int) -> None:
        super().__init__()
        self.dataset = PatchDataset(cases, config, seed)
        self.config = config

    def train_dataloader(self) -> DataLoader:
        """Return the loader of this process; Lightning sets its sampler's epoch."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = StepSampler(self.config, rank, world)
        return DataLoader(
            self.dataset,
            batch_size=sampler.part,
            sampler=sampler,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=find_device(self.config.accelerator) != "cpu",
            generator=torch.Generator(),  # for the workers' unused seeds; else the global one
        )

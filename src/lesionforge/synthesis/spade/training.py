"""Train the generator of one seed: resumable, with the lineage of every real subject it saw."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_grid
from lesionforge.errors import ConfigError, DataError, LesionForgeError
from lesionforge.hardware import find_device, resolve_precision
from lesionforge.provenance import atomic, read_json, sha256, write_json
from lesionforge.seeding import torch_stream
from lesionforge.synthesis.spade.config import GeneratorConfig
from lesionforge.synthesis.spade.data import PatchBatches, Scan, StepSampler, read_scan, style_view
from lesionforge.synthesis.spade.module import GeneratorModule, SpadeModel, reconstruct
from lesionforge.synthesis.spade.network import EFFECT_LOGITS, Generator
from lesionforge.synthesis.spade.panel import plot_panel
from lesionforge.synthesis.spade.style import StyleEncoder, encode_scan
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
WEIGHTS = "generator.safetensors"
RECORD = "generator.json"
STYLE = "of healthy tissue"
DECIDES = ("config", "seed", "channels", "effect_logits", "style", "training", "sources")
"""What of the record decides the weights, beside the volumes."""


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A generator from disk.

    Attributes:
        network: the generator, in evaluation mode.
        encoder: its style encoder, in evaluation mode.
        config: what it was trained with.
        channels: BIDS suffixes of the images that it makes.
        styles: training subject id to style code (style_dim,) float32.
        sources: ids of every real subject it has seen.
        sha256: of the weights' file.
    """

    network: Generator
    encoder: StyleEncoder
    config: GeneratorConfig
    channels: tuple[str, ...]
    styles: dict[str, np.ndarray]
    sources: tuple[str, ...]
    sha256: str


def train_generator(
    subjects: list[Subject], folder: Path, config: GeneratorConfig, seed: int
) -> Path:
    """Train a generator on `subjects` and write it to `folder`; resumes, and is done once.

    Writes `generator.safetensors` (moving average of the weights), `generator.json`
    (configuration, style code of each subject, environment), `lineage.json` (every real subject
    seen) and TensorBoard logs. A finished folder is left as it is.

    Args:
        subjects: real training patients and controls, on one grid that is symmetric in x.
        folder: of this generator.
        config: of generator and training.
        seed: of initial weights, patches and noise.

    Returns:
        The weights' path.

    Raises:
        DataError: `folder` holds another generator's training, or a subject cannot be used.
    """
    folder = Path(folder)
    if not subjects:
        raise ConfigError("The generator needs at least one training subject.")
    record = {
        "config": asdict(config),
        "seed": seed,
        "channels": list(subjects[0].channels),
        "effect_logits": EFFECT_LOGITS,
        "style": STYLE,
        "training": [s.id for s in subjects],
        "sources": sorted({source for s in subjects for source in s.sources}),
    }
    identity = identify(record, subjects)
    if is_finished(folder, RECORD, identity):
        logger.info("%s is trained already", folder)
        return folder / WEIGHTS
    write_json(folder / "lineage.json", {"real_subjects": record["sources"]})
    scans = read_scans(subjects)
    write_json(folder / IDENTITY, {"identity": identity})
    module, seconds = _fit(PatchBatches(scans, config, seed), folder, config, seed)
    record["seconds"] = round(seconds, 1)
    _write_result(folder, module, scans, record)
    return folder / WEIGHTS


def load_generator(folder: Path) -> TrainedGenerator:
    """Read a trained generator; no code of the file is run.

    Raises:
        DataError: the folder has no finished generator, or its files do not belong together.
    """
    record = read_json(Path(folder) / RECORD)
    path = Path(folder) / WEIGHTS
    try:
        config = GeneratorConfig(
            **{**record["config"], "features": tuple(record["config"]["features"])}
        )
        with torch.random.fork_rng(devices=[]):
            synthesizer = SpadeModel(config, len(record["channels"]))
        synthesizer.load_state_dict(load_file(path))
        found = sha256(path)
        if record["effect_logits"] != EFFECT_LOGITS:
            raise DataError("an earlier version trained it on another conditioning map")
        if found != record["weights_sha256"]:
            raise DataError(f"its SHA-256 is {found}, not the {record['weights_sha256']} recorded")
    except (OSError, RuntimeError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} and {RECORD} beside it are not a generator of this version ({error}). "
            "Delete the folder and train it again."
        ) from None
    synthesizer.eval().requires_grad_(False)
    return TrainedGenerator(
        synthesizer.network,
        synthesizer.encoder,
        config,
        tuple(record["channels"]),
        {name: np.array(code, dtype=np.float32) for name, code in record["styles"].items()},
        tuple(record["sources"]),
        record["weights_sha256"],
    )


def encode_style(encoder: StyleEncoder, scan: Scan, patch: int) -> Tensor:
    """Return the style code (style_dim,) of a whole scan: that of its healthy tissue.

    Args:
        encoder: in evaluation mode.
        scan: of a training subject or anybody else.
        patch: edge of a patch in voxels, as in training.
    """
    images, tissues = map(torch.from_numpy, style_view(scan, lambda volume: volume))
    return encode_scan(encoder, images, tissues, patch)


def check_volumes(folder: Path, subjects: Mapping[str, Subject]) -> None:
    """Refuse a generator that was trained on other volumes of its subjects than are there now.

    Args:
        folder: of the generator.
        subjects: participant id to subject, all whom it was trained on among them.

    Raises:
        DataError: see above.
    """
    record = read_json(Path(folder) / RECORD)
    decides = {name: record[name] for name in DECIDES}
    identity = identify(decides, [subjects[name] for name in record["training"]])
    if read_json(Path(folder) / IDENTITY)["identity"] != identity:
        raise DataError(
            f"Images or masks of the subjects that the generator in {folder} was trained on have "
            "changed since. Delete the folder and train it again."
        )


def read_scans(subjects: list[Subject]) -> list[Scan]:
    """Read training subjects into memory.

    Raises:
        DataError: one cannot be used, or grids differ.
    """
    grid = read_grid(subjects[0])
    scans = []
    for subject in tqdm(subjects, desc="read training subjects", unit="subject"):
        if not read_grid(subject).matches(grid):
            raise DataError(
                f"{subject.brain} is on another grid than {subjects[0].brain}. "
                "Prepare the cohort again."
            )
        scans.append(read_scan(subject))
    return scans


def _fit(
    batches: PatchBatches, folder: Path, config: GeneratorConfig, seed: int
) -> tuple[GeneratorModule, float]:
    """Train to the last step; return the module and the seconds that all its steps took."""
    module = GeneratorModule(config, len(batches.scans[0].images), seed)
    epochs = config.steps // config.checkpoint_every
    precision = resolve_precision(config.precision, config.accelerator)
    progress = Progress("train generator", config.steps, lambda: int(module.done))
    trainer = Trainer(
        accelerator=config.accelerator,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        plugins=cluster_plugins(1),
        max_epochs=epochs,  # two optimizers count every step twice: never `max_steps`
        logger=TensorBoardLogger(folder, name="logs", version=""),
        log_every_n_steps=config.log_every,
        callbacks=[Panel(batches, config), Checkpoint(folder / CHECKPOINT, precision), progress],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=StepSampler(lambda: int(module.done), config.checkpoint_every),
        generator=torch_stream(seed, "generator", "loader"),  # spares the global one
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        pin_memory=find_device(config.accelerator) != "cpu",
    )
    trainer.fit(module, loader, ckpt_path=find_checkpoint(folder, module), weights_only=True)
    if trainer.current_epoch < epochs or trainer.interrupted:
        raise LesionForgeError(
            f"{folder}: the training stopped in epoch {trainer.current_epoch} of {epochs}. "
            "Run the same command again to resume it."
        )
    return module, progress.seconds


def _write_result(
    folder: Path, module: GeneratorModule, scans: list[Scan], record: dict[str, Any]
) -> None:
    """Write the averaged weights and the record, which comes last and marks them complete."""
    average = module.average.cpu().eval()
    with atomic(folder / WEIGHTS) as part:
        save_file(average.state_dict(), part)
    styles = {}
    for scan in scans:
        styles[scan.id] = encode_style(average.encoder, scan, module.config.patch)
    write_json(
        folder / RECORD,
        {
            **record,
            "styles": {name: [float(v) for v in code] for name, code in styles.items()},
            "weights_sha256": sha256(folder / WEIGHTS),
            **machine(module.config.precision, module.config.accelerator),
        },
    )
    (folder / CHECKPOINT).unlink(missing_ok=True)


class Panel(Callback):
    """Show mask | real | synthetic of the same patches in TensorBoard, by the averaged weights."""

    def __init__(self, batches: PatchBatches, config: GeneratorConfig) -> None:
        self.batch = batches.panel()
        self.every = config.panel_every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Draw the panel after every `panel_every` steps."""
        step = int(batch["step"]) + 1
        if step % self.every or not isinstance(trainer.logger, TensorBoardLogger):
            return
        here = {name: value.to(pl_module.device) for name, value in self.batch.items()}
        average: Any = pl_module.average
        made = reconstruct(average, here, noise_seed=0)
        picture = plot_panel(here["images"], made, here["semantic"])
        trainer.logger.experiment.add_image("mask | real | synthetic", picture, step)

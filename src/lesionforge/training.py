"""What every training shares: its identity on disk, its one checkpoint, its progress bar."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments import LightningEnvironment
from tqdm import tqdm

from lesionforge.data.cohort import expected_files
from lesionforge.data.subject import Subject
from lesionforge.errors import DataError
from lesionforge.hardware import find_device, peak_gpu_gib, resolve_precision
from lesionforge.provenance import atomic, environment, read_json, sha256, sha256_json

logger = logging.getLogger(__name__)
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its advertisements
TIMED_STEPS = 20
IDENTITY = "training.json"
CHECKPOINT = "checkpoint.ckpt"


def identify(record: dict[str, Any], subjects: Sequence[Subject]) -> str:
    """Return the checksum of all that a training's weights depend on.

    Args:
        record: its configuration under `config` (the number of `workers` is left out: nothing
            depends on it), and whatever else decides the weights.
        subjects: the training subjects; all their volumes count, not only their ids.
    """
    config = {k: v for k, v in record["config"].items() if k != "workers"}
    return sha256_json({**record, "config": config, "volumes": volume_checksums(subjects)})


def volume_checksums(subjects: Sequence[Subject]) -> list[list[str]]:
    """Return the SHA-256 of all volumes of each subject, its lesion mask among them."""
    return [[sha256(path) for path in expected_files(subject)] for subject in subjects]


def is_finished(folder: Path, record: str, identity: str) -> bool:
    """Tell whether a folder's training is done; refuse one that was meant to be another.

    Args:
        folder: of the training; `training.json` in it holds the identity it was begun with.
        record: name of the file that is written last.
        identity: checksum of all that the weights depend on.

    Raises:
        DataError: the folder was begun with another identity.
    """
    known = folder / IDENTITY
    if known.exists() and read_json(known)["identity"] != identity:
        raise DataError(
            f"{folder} was trained with another configuration, seed or training set. "
            "Delete the folder to train again, or give the study another name."
        )
    return (folder / record).exists()


def machine(precision: str, accelerator: str) -> dict[str, Any]:
    """Return what a record says of the machine that trained, and of how it computed.

    Args:
        precision: of the training, see `resolve_precision`.
        accelerator: of the training, see `find_device`.
    """
    return {
        "precision": resolve_precision(precision, accelerator),
        "threads": torch.get_num_threads(),
        "peak_gpu_gib": peak_gpu_gib(find_device(accelerator)),
        "environment": environment(),
    }


class Checkpoint(Callback):
    """Write the training's state at the end of every epoch, beside and then renamed.

    Args:
        path: of the one checkpoint.
        precision: of the training; one that was begun in another is not resumed, since what `auto`
            means depends on the machine.
    """

    def __init__(self, path: Path, precision: str) -> None:
        self.path = path
        self.precision = precision

    def state_dict(self) -> dict[str, str]:
        """Keep the precision in the checkpoint."""
        return {"precision": self.precision}

    def load_state_dict(self, state_dict: dict[str, str]) -> None:
        """Refuse to go on in another precision.

        Raises:
            DataError: see above.
        """
        if state_dict["precision"] != self.precision:
            raise DataError(
                f"{self.path} was begun in {state_dict['precision']}, and this machine would go on "
                f"in {self.precision}. Go on where it was begun, or delete the file to begin anew."
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint."""
        first = trainer.is_global_zero  # the one process that writes; all take part
        with atomic(self.path) if first else nullcontext(self.path) as part:
            trainer.save_checkpoint(part, weights_only=False)


def cluster_plugins(devices: int) -> list[Any]:
    """Return what Lightning needs to know of a cluster: with one device, that there is none.

    Else it would take the variables of a SLURM allocation for a training on all its tasks.
    """
    return [LightningEnvironment()] if devices == 1 else []


def find_checkpoint(folder: Path, module: LightningModule) -> Path | None:
    """Return the checkpoint of a training that was stopped; None if there is none.

    Args:
        folder: of the training.
        module: is to go on from there.

    Raises:
        DataError: the file is damaged, or of another network.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        found = {name: tensor.shape for name, tensor in weights.items()}
    except Exception as error:  # noqa: BLE001 (zip, pickle, file: each damage has its own)
        raise DataError(
            f"{path} is damaged ({' '.join(str(error).split())[:200]}). Delete it to begin this "
            "training anew, or put a whole copy there."
        ) from None
    if found != {name: tensor.shape for name, tensor in module.state_dict().items()}:
        raise DataError(
            f"{path} holds the weights of another network. Delete it to begin this training anew, "
            "or put the right file there."
        )
    return path


class Progress(Callback):
    """Show one bar over all steps, log how long the training will take, and tell how long it took.

    Args:
        name: of the bar.
        steps: of the whole training.
        done: tells how many steps are done, those before a resumption included (Lightning's own
            count doubles with two optimizers).
    """

    def __init__(self, name: str, steps: int, done: Callable[[], int]) -> None:
        self.name = name
        self.steps = steps
        self.done = done
        self.earlier = 0.0
        self.began: float | None = None

    @property
    def seconds(self) -> float:
        """Time of all steps that count, those of the runs that this one resumes included."""
        return self.earlier + (0.0 if self.began is None else time.monotonic() - self.began)

    def state_dict(self) -> dict[str, float]:
        """Keep the time in the checkpoint."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take the time of the former runs up again."""
        self.earlier = state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar where a resumed run takes up."""
        self.began = time.monotonic()
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self.first = self.done()
        self.bar = tqdm(
            desc=self.name,
            total=self.steps,
            initial=self.first,
            unit="step",
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Move the bar; start the clock after the run's first step and read it 20 steps later."""
        done, now = self.done(), time.monotonic()
        self.bar.update(done - self.bar.n)
        if done - self.first == 1:
            self.clock = now
        elif done - self.first == 1 + TIMED_STEPS:
            pace = (now - self.clock) / TIMED_STEPS
            left = self.steps - done
            message = "%.2f s a step: %d steps left, about %.1f minutes"
            logger.info(message, pace, left, pace * left / 60)
            if (memory := peak_gpu_gib(str(pl_module.device))) is not None:
                logger.info("%.1f GiB of GPU memory", memory)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self.bar.close()

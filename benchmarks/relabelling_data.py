"""The data sets of `relabelling.py`: a pool to be labelled and a test set, drawn by a seed."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.relabelling.budget import Task
from lesionforge.provenance import read_tsv
from lesionforge.seeding import stream

POOL, TEST = 5000, 2000  # at most so many images of a larger set, so that hours suffice
TEST_SHARE = 0.25
KNOWN = ("participant_id", "candidate", "hit")


def load_task(name: str, seed: int) -> Task:
    """Load a data set by its name or path and draw pool and test set."""
    if name.endswith(".tsv"):
        return load_candidates(Path(name), seed)
    if name == "digits":
        bunch = load_digits()
        images = (bunch.data / 16 - 0.5).astype(np.float32)
        parts = train_test_split(
            images, bunch.target, test_size=0.25, random_state=seed, stratify=bunch.target
        )
        return Task(parts[0], parts[2], parts[1], parts[3], 10)
    arrays = _archive(name)
    rng = np.random.default_rng(seed)
    sets = []
    for images, labels, most in ((*arrays[:2], POOL), (*arrays[2:], TEST)):
        rows = rng.permutation(len(images))[:most]
        sets += [_channels_first(images[rows]), labels[rows].ravel().astype(np.int64)]
    return Task(*sets, classes=int(max(sets[1].max(), sets[3].max())) + 1)


def _archive(name: str) -> list[np.ndarray]:
    path = Path(name)
    if not path.is_file():
        path = _medmnist(name)
    with np.load(path, allow_pickle=False) as archive:
        for keys in (
            ("train_images", "train_labels", "test_images", "test_labels"),
            ("x_train", "y_train", "x_test", "y_test"),
        ):
            if all(key in archive for key in keys):
                return [archive[key] for key in keys]
    raise ConfigError(f"{path} has neither MedMNIST's arrays nor those of Keras' mnist.npz.")


def _medmnist(name: str) -> Path:
    try:
        import medmnist
    except ImportError as error:
        raise ConfigError(
            f"`{name}` is neither `digits` nor a file. For MedMNIST's sets: pip install medmnist."
        ) from error
    if name not in medmnist.INFO:
        raise ConfigError(f"`{name}` is not one of MedMNIST's sets: {', '.join(medmnist.INFO)}.")
    kind = getattr(medmnist, medmnist.INFO[name]["python_class"])
    return Path(kind(split="train", download=True).root) / f"{name}.npz"


def _channels_first(images: np.ndarray) -> np.ndarray:
    images = images[..., None] if images.ndim == 3 else images
    return np.ascontiguousarray(np.moveaxis(images, -1, 1), dtype=np.float32) / 255 - 0.5


def load_candidates(path: Path, seed: int) -> Task:
    """Read a table of lesion candidates: hit (1) or false positive (0), from their features.

    A quarter of the subjects test, so that nobody's candidates are on both sides. Features are
    standardised by the pool. Hits and false positives keep their proportion, so accuracy is the
    mean over both.

    Args:
        path: table with participant_id, candidate, hit, and a column for each feature.
        seed: of the draw of subjects.

    Raises:
        DataError: the table lacks columns or features have no value, or one of pool and test has
            hits or false positives only.
    """
    table = read_tsv(path, participant_id=str, candidate=int, hit=int)
    features = table.drop(columns=list(KNOWN)).to_numpy(dtype=np.float64)
    if not features.size or not np.isfinite(features).all():
        raise DataError(f"{path} has no features, or some without a value. Make it again.")
    subjects = sorted(set(table["participant_id"]))
    drawn = stream(seed, "candidates", "test").permutation(subjects)
    test = table["participant_id"].isin(drawn[: round(TEST_SHARE * len(subjects))]).to_numpy()
    hit = table["hit"].to_numpy(dtype=np.int64)
    if min(len(set(hit[test])), len(set(hit[~test]))) < 2:
        raise DataError(
            f"{path} has too few candidates: pool and test each need hits and false positives."
        )
    mean, sd = features[~test].mean(axis=0), features[~test].std(axis=0)
    x = ((features - mean) / np.maximum(sd, 1e-9)).astype(np.float32)
    return Task(x[~test], hit[~test], x[test], hit[test], classes=2, balanced=True)

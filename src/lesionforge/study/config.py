"""One study: its configuration (the table of contents of everything) and its folders."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from lesionforge.data.labels import ORIGINAL
from lesionforge.data.splits import SplitConfig
from lesionforge.detection.module import DetectorConfig
from lesionforge.errors import ConfigError
from lesionforge.lesions.prior import LesionConfig
from lesionforge.metrics.intervals import EvaluationConfig
from lesionforge.metrics.matching import CandidateRules
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.provenance import sha256_json
from lesionforge.study.regimes import Regime
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.spade.module import GeneratorConfig


@dataclass(frozen=True)
class CohortConfig:
    """Where the real subjects come from and how they are prepared.

    Attributes:
        bids: folder of a BIDS-like data set to prepare (T1w, FLAIR and lesion masks); without one
            the embedded phantoms are made, and nothing is downloaded.
        phantom: the embedded phantoms.
        prepare: registration, brain extraction, resampling, tissue maps.
    """

    bids: str | None = None
    phantom: PhantomConfig = field(default_factory=PhantomConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)


def _regimes() -> dict[str, Regime]:
    return {
        "baseline": Regime(patients=12, controls=12),
        "augmented": Regime(patients=12, controls=12, synthetic="spade", ratio=1.0),
        "expanded": Regime(patients=24, controls=24),
    }


@dataclass(frozen=True)
class Study:
    """A study: one configuration file, one folder under `runs`.

    Attributes:
        name: of the study and of its folder.
        runs: where the folders of studies lie.
        labels: the label set that counts (`cohort/labels/<set>.tsv`, or `original`); generators,
            detectors and reports of another set lie in a folder of their own.
        seeds: replicates of everything that is drawn (nested choice of training subjects,
            generator, synthetic set, detector); the test set stays the same.
        folds: cross-fit with this many folds (a generator per fold); 0 keeps one test set.
        cohort: the real subjects.
        splits: who validates and who tests.
        masks: the lesion mask generator.
        generator: the SPADE generator and its training.
        synthetic: the synthetic sets, by name.
        detector: the detector and its training.
        regimes: the regimes to compare, by name; `baseline` must be one.
        rules: what a candidate and a hit are.
        evaluation: operating points and bootstrap.
    """

    name: str = "phantom"
    runs: str = "runs"
    labels: str = ORIGINAL
    seeds: tuple[int, ...] = (0,)
    folds: int = 0
    cohort: CohortConfig = field(default_factory=CohortConfig)
    splits: SplitConfig = field(default_factory=SplitConfig)
    masks: LesionConfig = field(default_factory=LesionConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    synthetic: dict[str, SynthesisConfig] = field(
        default_factory=lambda: {"spade": SynthesisConfig()}
    )
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    regimes: dict[str, Regime] = field(default_factory=_regimes)
    rules: CandidateRules = field(default_factory=CandidateRules)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if "baseline" not in self.regimes:
            raise ConfigError(
                "`regimes` must contain `baseline`, the regime others are compared with."
            )
        if self.regimes["baseline"].synthetic is not None:
            raise ConfigError(
                "`baseline` is the regime of real subjects alone: no `synthetic` there."
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"`seeds` must be one or more different numbers, got {self.seeds}.")
        if self.folds == 1 or self.folds < 0:
            raise ConfigError(f"`folds` must be 0 (none) or at least 2, got {self.folds}.")
        for name, regime in self.regimes.items():
            if regime.synthetic is not None and regime.synthetic not in self.synthetic:
                raise ConfigError(
                    f"Regime `{name}` uses the synthetic set `{regime.synthetic}`, which is not in "
                    f"`synthetic` ({', '.join(self.synthetic) or 'empty'})."
                )

    @property
    def root(self) -> Path:
        """The study's folder."""
        return Path(self.runs) / self.name

    @property
    def cohort_root(self) -> Path:
        """The prepared cohort."""
        return self.root / "cohort"

    @property
    def data(self) -> Literal["phantom", "real"]:
        """What the study was run on."""
        return "phantom" if self.cohort.bids is None else "real"

    @property
    def sha256(self) -> str:
        """Checksum of the whole configuration but for where it is run."""
        content = asdict(self)
        del content["runs"]
        return sha256_json(content)

    @property
    def fold_numbers(self) -> tuple[int | None, ...]:
        """The folds (0 ...), or a single None without cross-fitting."""
        return tuple(range(self.folds)) if self.folds else (None,)

    @property
    def labels_root(self) -> Path:
        """Folder of everything that was learnt from the study's label set."""
        return self.root if self.labels == ORIGINAL else self.root / f"labels-{self.labels}"

    def fold_root(self, fold: int | None) -> Path:
        """Folder of a fold's splits, generators, synthetic sets and detectors."""
        return self.labels_root if fold is None else self.labels_root / f"fold-{fold}"

    def splits_path(self, fold: int | None) -> Path:
        """Table of roles: `cohort/splits.tsv`, or `fold-F/splits.tsv`."""
        return (self.cohort_root if fold is None else self.root / f"fold-{fold}") / "splits.tsv"

    def generator_root(self, seed: int, fold: int | None) -> Path:
        """Folder of a trained generator."""
        return self.fold_root(fold) / "generator" / "spade" / f"seed-{seed}"

    def synthetic_root(self, name: str, seed: int, fold: int | None) -> Path:
        """Folder of a synthetic set."""
        return self.fold_root(fold) / "synthetic" / name / f"seed-{seed}"

    def detector_root(
        self, regime: str, seed: int, fold: int | None, model: str = "detector"
    ) -> Path:
        """Folder of a trained detector and its predictions, or of those of another `model`."""
        return self.fold_root(fold) / model / regime / f"seed-{seed}"

    def report_root(self, model: str = "detector") -> Path:
        """Folder of the report that compares the regimes of a `model`."""
        return self.labels_root / ("report" if model == "detector" else f"report-{model}")

    def seeds_and_folds(
        self, seed: int | None, fold: int | None
    ) -> Iterator[tuple[int, int | None]]:
        """Yield the (seed, fold) pairs that are meant: all, or those of one seed and fold.

        Raises:
            ConfigError: `seed` or `fold` is not one of the study's.
        """
        if seed is not None and seed not in self.seeds:
            raise ConfigError(f"Seed {seed} is not one of the study's seeds {self.seeds}.")
        if fold is not None and fold not in self.fold_numbers:
            raise ConfigError(f"Fold {fold} is not one of the study's {self.folds} folds.")
        for one_fold in self.fold_numbers if fold is None else (fold,):
            for one_seed in self.seeds if seed is None else (seed,):
                yield one_seed, one_fold

    @property
    def synthetic_used(self) -> tuple[str, ...]:
        """The synthetic sets that a regime uses, in the order of `synthetic`."""
        used = {regime.synthetic for regime in self.regimes.values()}
        return tuple(name for name in self.synthetic if name in used)

    def synthetic_count(self, name: str, group: str) -> int:
        """Return how many `patient`s or `control`s of a set its largest ratio asks for."""
        asked = [r.synthetic_count(group) for r in self.regimes.values() if r.synthetic == name]
        return max(asked, default=0)

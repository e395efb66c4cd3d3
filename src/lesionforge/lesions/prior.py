"""The prior of lesions, fitted on all lesions of training patients: number, size, shape, place."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr
from tqdm import tqdm

from lesionforge.data.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.errors import DataError, MaskError
from lesionforge.lesions.appearance import FAINT, Conspicuity, measure_conspicuity
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.contrast import ContrastChange, as_contrast
from lesionforge.lesions.growth_fit import Growth, fit_growth
from lesionforge.lesions.host import Host
from lesionforge.lesions.inpainting import inpaint_tissues
from lesionforge.lesions.shape import describe_mask, label_lesions
from lesionforge.lesions.spec import Side, Style
from lesionforge.preprocessing.regions import REGIONS

RIBBON_SHARE = 0.6  # from this median share in cortex or junction on, lesions are cortical ...
RIBBON_INNER_MM = 9.0  # ... unless a ball of this radius fits into the median one
QUANTILE_POINTS = 1024
_LOG = logging.getLogger("lesionforge.lesions")


@dataclass(frozen=True)
class Lesion:
    """One training lesion as the prior keeps it.

    Attributes:
        subject: id of the patient.
        site: scanner or hospital.
        volume_mm3: its volume.
        centroid_mm: MNI mm.
        place: one of `lesionforge.lesions.shape.PLACES`.
        side: hemisphere.
        conspicuity: `Conspicuity.total`.
        contrast: what it does to grey and to white matter, `Conspicuity.contrast`.
        growth: parameters that make masks like it.
    """

    subject: str
    site: str
    volume_mm3: float
    centroid_mm: tuple[float, float, float]
    place: str
    side: Side
    conspicuity: float
    contrast: ContrastChange
    growth: Growth


@dataclass(frozen=True)
class LesionPrior:
    """What masks are drawn from.

    Attributes:
        config: how it was fitted.
        style: how lesions grow.
        volume_range_mm3: least and greatest volume that it gives.
        lesions: the training lesions, by patient.
    """

    config: LesionConfig
    style: Style
    volume_range_mm3: tuple[float, float]
    lesions: tuple[Lesion, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of lesions of each training patient, in ascending order."""
        return tuple(sorted(Counter(lesion.subject for lesion in self.lesions).values()))

    def count(self, quantile: float) -> int:
        """Return the number of lesions at a quantile in [0, 1] of the training patients'."""
        return self.counts[min(int(quantile * len(self.counts)), len(self.counts) - 1)]

    def volume_mm3(self, quantile: float | np.ndarray) -> np.ndarray:
        """Return volumes at quantiles in [0, 1] of the smoothed log-volume distribution."""
        logs = np.log([lesion.volume_mm3 for lesion in self.lesions])
        low, high = np.log(self.volume_range_mm3)
        return np.exp(smooth_quantile(logs, quantile, (low, high), self.config.smoothing))

    def conspicuity(self, quantile: float | np.ndarray) -> np.ndarray:
        """Return conspicuities at quantiles in [0, 1] of the smoothed distribution.

        None is below `FAINT`: few real lesions are, and a mask without a lesion to be seen would
        only be a wrong label.
        """
        values = np.array([lesion.conspicuity for lesion in self.lesions])
        limits = (FAINT, max(float(values.max()), FAINT) * 1.25)
        return smooth_quantile(values, quantile, limits, self.config.smoothing)

    def to_json(self) -> dict[str, Any]:
        """Return the prior as JSON-able values; `from_json` gives the same prior back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "LesionPrior":
        """Make a prior from `to_json`'s values or from what JSON made of them.

        Raises:
            DataError: a field is missing or unknown.
        """
        try:
            low, high = values["volume_range_mm3"]
            lesions = tuple(_lesion_from_json(lesion) for lesion in values["lesions"])
            return cls(LesionConfig(**values["config"]), values["style"], (low, high), lesions)
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(
                f"This is no mask prior ({error!r}). Train the generator again."
            ) from None


def fit_prior(
    subjects: list[Subject],
    config: LesionConfig,
) -> LesionPrior:
    """Fit the prior on the lesion masks of patients; their order does not matter.

    Args:
        subjects: training subjects; controls are passed over.
        config: how to model.

    Raises:
        MaskError: there is no patient with a usable lesion.
    """
    patients = sorted((s for s in subjects if s.group == "patient"), key=lambda s: s.id)
    described = {
        patient: _describe(patient, config)
        for patient in tqdm(patients, desc="Lesion shapes", disable=None)
    }
    shapes = [shape for found in described.values() for shape in found]
    if not shapes:
        raise MaskError("No training patient has a lesion mask in the brain; nothing to fit.")
    style = config.style if config.style != "auto" else _style(shapes)
    searched = _searched([shape["volume_mm3"] for shape in shapes], config.max_growths)
    measured: list[tuple[Subject, dict[str, float], Conspicuity, Growth | None]] = []
    number = -1
    # one head at a time in memory, read again rather than kept
    for patient in tqdm([p for p in patients if described[p]], desc="Lesion prior", disable=None):
        host, mask = read_healthy(patient)
        labels, _ = label_lesions(mask, host.grid, config.min_volume_mm3)
        for label, found in enumerate(described[patient], start=1):
            own, number = labels == label, number + 1
            try:
                shown = _measure(patient, host, own, mask & ~own)
                growth = fit_growth(own, host, style) if number in searched else None
            except (MaskError, DataError) as error:
                _LOG.warning("%s: a lesion is left out of the prior: %s", patient.id, error)
                continue
            measured.append((patient, found, shown, growth))
    lesions = _with_growths(measured)
    if not lesions:
        raise MaskError("No lesion mask lies where lesions may be; check the masks' geometry.")
    volumes = [lesion.volume_mm3 for lesion in lesions]
    limits = (min(volumes) / config.volume_margin, max(volumes) * config.volume_margin)
    return LesionPrior(config, style, limits, tuple(lesions))


def smooth_quantile(
    values: np.ndarray, quantile: float | np.ndarray, limits: tuple[float, float], smoothing: float
) -> np.ndarray:
    """Invert the distribution function of a Gaussian kernel estimate, cut off at `limits`.

    Kernels have `smoothing` times Silverman's width and are drawn towards the mean, so that the
    estimate keeps the sample's variance (Silverman 1986, section 6.4).
    """
    values = np.asarray(values, dtype=np.float64)
    spread = float(values.std())
    width = max(smoothing * 1.06 * spread * len(values) ** -0.2, 1e-3 * (limits[1] - limits[0]))
    shrink = 1 / np.sqrt(1 + (width / max(spread, 1e-9)) ** 2) if spread > 0 else 1.0
    centres = values.mean() + (values - values.mean()) * shrink
    points = np.linspace(*limits, QUANTILE_POINTS)
    below = ndtr((points[:, None] - centres) / (width * shrink)).mean(axis=1)
    below = (below - below[0]) / (below[-1] - below[0])
    return np.asarray(np.interp(quantile, below, points))


def _searched(volumes: Sequence[float], most: int) -> set[int]:
    """Choose the lesions that growth parameters are searched for, evenly over their volumes."""
    order = np.argsort(volumes, kind="stable")
    if len(order) <= most:
        return set(order.tolist())
    return set(order[np.linspace(0, len(order) - 1, most).round().astype(int)].tolist())


def _with_growths(
    measured: Sequence[tuple[Subject, dict[str, float], Conspicuity, Growth | None]],
) -> list[Lesion]:
    """Give each lesion its growth, or that of the lesion of the nearest volume that has one."""
    known = [(found["volume_mm3"], growth) for _, found, _, growth in measured if growth]
    lesions = []
    for patient, found, shown, own in measured:
        volume = found["volume_mm3"]
        growth = own or min(known, key=lambda k: abs(np.log(k[0] / volume)), default=(0, None))[1]
        if growth is not None:
            lesions.append(_lesion(patient, found, shown, growth))
    return lesions


def read_healthy(patient: Subject) -> tuple[Host, np.ndarray]:
    """Read a patient as a host without the lesion, and the lesion in the brain, (X, Y, Z) bool."""
    brain, grid = read_brain(patient), read_grid(patient)
    mask = read_lesion(patient) & brain
    healthy = inpaint_tissues(read_tissues(patient), read_lesion(patient), grid)
    return Host(patient.id, healthy, brain, grid, np.zeros_like(mask)), mask


def _describe(patient: Subject, config: LesionConfig) -> list[dict[str, float]]:
    """Describe the lesions of a patient; none where no voxel lies in the brain."""
    host, mask = read_healthy(patient)
    labels, count = label_lesions(mask, host.grid, config.min_volume_mm3)
    return [describe_mask(labels == number, host) for number in range(1, count + 1)]


def _style(described: list[dict[str, float]]) -> Style:
    share = np.median([d["ribbon_share"] for d in described])
    inner = np.median([d["inner_radius_mm"] for d in described])
    style: Style = "ribbon" if share >= RIBBON_SHARE and inner <= RIBBON_INNER_MM else "blob"
    _LOG.info(
        "Lesions grow as %s: median share in cortex or junction %.2f, inner radius %.1f mm.",
        style,
        share,
        inner,
    )
    return style


def _measure(subject: Subject, host: Host, lesion: np.ndarray, others: np.ndarray) -> Conspicuity:
    """Measure a lesion as the generator does: the patient's other lesions are no healthy rim."""
    images, brain = read_images(subject), host.brain & ~others
    return measure_conspicuity(images, lesion, host.tissues, brain, host.grid.voxel_mm)


def _lesion(
    subject: Subject, found: dict[str, float], shown: Conspicuity, growth: Growth
) -> Lesion:
    return Lesion(
        subject=subject.id,
        site=subject.site,
        volume_mm3=found["volume_mm3"],
        centroid_mm=(found["x_mm"], found["y_mm"], found["z_mm"]),
        place=REGIONS[int(found["place"])],
        side="left" if found["side"] < 0 else "right",
        conspicuity=shown.total,
        contrast=shown.contrast,
        growth=growth,
    )


def _lesion_from_json(values: dict[str, Any]) -> Lesion:
    x, y, z = values["centroid_mm"]
    place = {"centroid_mm": (x, y, z), "contrast": as_contrast(values["contrast"])}
    return Lesion(**{**values, **place, "growth": Growth(**values["growth"])})

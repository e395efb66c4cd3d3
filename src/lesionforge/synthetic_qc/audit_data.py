"""Read a synthetic set and the real subjects it is compared with into portraits."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from lesionforge.data.cohort import sidecar_path
from lesionforge.data.subject import Subject, read_brain, read_lesion
from lesionforge.errors import DataError, LineageError, MaskError
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.host import read_host
from lesionforge.lesions.prior import LesionPrior
from lesionforge.lesions.sampling import sample_spec
from lesionforge.provenance import read_json
from lesionforge.seeding import stream
from lesionforge.synthesis.anatomy import anatomy_reader, bend_anatomy
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.plan import sample_requests
from lesionforge.synthesis.rendering import find_place
from lesionforge.synthesis.spec import SynthesisSpec
from lesionforge.synthetic_qc.audit import AuditData
from lesionforge.synthetic_qc.config import SyntheticAuditConfig
from lesionforge.synthetic_qc.mask_distribution import sample_shapes
from lesionforge.synthetic_qc.subject_features import SubjectFeatures, measure_subject


def read_audit_data(
    made: Sequence[Subject],
    behind: Sequence[Subject],
    fresh: Sequence[Subject],
    synthesis: SynthesisConfig,
    config: SyntheticAuditConfig,
) -> AuditData:
    """Read everything that is judged, each subject once.

    Args:
        made: the synthetic set, or what counts of it.
        behind: the real subjects that it may go back to.
        fresh: real subjects that it must not go back to.
        synthesis: how the set was made.
        config: how it is judged.

    Raises:
        LineageError: a fresh subject stands behind the set.
        DataError: there is no synthetic patient, or no fresh real one.
    """
    _check(made, fresh)
    root = made[0].root
    prior = None
    if (root / "prior.json").exists():
        prior = LesionPrior.from_json(read_json(root / "prior.json"))
    places = _Places(behind, synthesis, prior, config.seed)
    ill = [s for s in made if s.group == "patient"]
    lesions = [read_lesion(s) for s in ill]
    patients = [
        _synthetic(s, places.of(s), True, places.bare(s))
        for s in tqdm(ill, desc="synthetic patients")
    ]
    well = [s for s in made if s.group == "control"]
    sound = [s for s in well if _is_sound(_spec(s))]
    controls = [
        _synthetic(s, places.of(s, lesions[i % len(lesions)]), False)
        for i, s in enumerate(tqdm(sound, desc="synthetic controls"))
    ]
    trained, hosts = _parted(behind)
    others, healthy = _parted(fresh)
    taken = [read_lesion(s) for s in others]
    return AuditData(
        channels=behind[0].channels,
        patients=patients,
        controls=controls,
        with_artifact=len(well) - len(sound),
        fresh=[_real(s) for s in tqdm(others, desc="fresh patients")],
        healthy=[
            measure_subject(s, places.on(s, taken[i % len(taken)]), s.id)
            for i, s in enumerate(tqdm(healthy, desc="fresh controls"))
        ],
        trained=[_real(s) for s in tqdm(trained, desc="training patients")],
        hosts=[measure_subject(s, None, s.id) for s in tqdm(hosts, desc="training controls")],
        spoilt=[_real(s, config.blur_voxels) for s in tqdm(trained, desc="a bad set on purpose")],
        masks=[
            *(p.shape for p in patients if p.shape),
            *_more_masks(prior, behind, (len(ill), config), synthesis.plan),
        ],
        rejected=_rejected(made),
        whole=synthesis.mode == "whole",
    )


def _parted(subjects: Sequence[Subject]) -> tuple[list[Subject], list[Subject]]:
    """Return patients and controls."""
    return (
        [s for s in subjects if s.group == "patient"],
        [s for s in subjects if s.group == "control"],
    )


def _check(made: Sequence[Subject], fresh: Sequence[Subject]) -> None:
    behind = {source for s in made for source in s.sources}
    known = sorted(behind & {s.id for s in fresh})
    if known:
        raise LineageError(
            f"Real subjects that stand behind the set are no fresh ones: {', '.join(known[:10])}."
        )
    if not any(s.group == "patient" for s in made):
        raise DataError("The set has no synthetic patient. Run synthesize first.")
    if not any(s.group == "patient" for s in fresh):
        raise DataError(
            "There is no real patient to compare with who does not stand behind the set. Leave "
            "some training patients out of the baseline, or name more roles: "
            "--audit.against '[train, validation, test]' (test for a last report only)."
        )


def new_lesions(
    behind: Sequence[Subject], synthesis: SynthesisConfig
) -> Callable[[Subject], np.ndarray]:
    """Return what gives the lesion that a synthetic patient was given, without its host's own.

    Args:
        behind: the real subjects that the set goes back to.
        synthesis: how the set was made.
    """
    read = anatomy_reader(behind)

    def place(subject: Subject) -> np.ndarray:
        found = find_place(_spec(subject), read, synthesis)
        return read_lesion(subject) if found is None else found

    return place


class _Places:
    """Where lesions are, were put, or could be."""

    def __init__(
        self,
        behind: Sequence[Subject],
        synthesis: SynthesisConfig,
        prior: LesionPrior | None,
        seed: int,
    ) -> None:
        self.synthesis, self.prior, self.seed = synthesis, prior, seed
        self.read = anatomy_reader(behind)

    def of(self, subject: Subject, other: np.ndarray | None = None) -> np.ndarray | None:
        """Return where a synthetic subject was changed; where it was not, a place like `on`'s."""
        place = find_place(_spec(subject), self.read, self.synthesis)
        return self.on(subject, other) if place is None and other is not None else place

    def bare(self, subject: Subject) -> np.ndarray | None:
        """Return the images that a lesion was inserted into; None in modes that make others."""
        spec = _spec(subject)
        if spec.mode != "insert":
            return None
        return bend_anatomy(self.read(spec.host), spec.warp).images

    def on(self, subject: Subject, other: np.ndarray) -> np.ndarray | None:
        """Return where a lesion could grow in a control: drawn from the set's prior on its anatomy.

        Without a prior (mode `paste`), or where none fits, the lesion `other` of somebody else is
        laid over; None where it misses the brain.
        """
        if self.prior is not None:
            host = read_host(subject)
            rng = stream(self.seed, "audit", "place", subject.id)
            try:
                return render_mask(sample_spec(self.prior, host, rng), host)
            except MaskError:
                pass
        place = other & read_brain(subject)
        return place if place.any() else None


def _is_sound(spec: SynthesisSpec) -> bool:
    return spec.artifact is None


def _spec(subject: Subject) -> SynthesisSpec:
    return SynthesisSpec.from_json(read_json(sidecar_path(subject))["Spec"])


def _synthetic(
    subject: Subject, place: np.ndarray | None, ill: bool, bare: np.ndarray | None = None
) -> SubjectFeatures:
    known = read_json(sidecar_path(subject))
    checks = known["QualityChecks"] if ill else {}
    lesion = _spec(subject).lesion if ill else None
    contrast = None if lesion is None else lesion.contrast
    return replace(
        measure_subject(subject, place, known["Host"], requested_contrast=contrast, bare=bare),
        asked=checks.get("ConspicuityAsked"),
        before=(checks["ConspicuityBefore"], checks["MatchBefore"])
        if "MatchBefore" in checks
        else None,
    )


def _real(subject: Subject, smooth_voxels: float = 0.0) -> SubjectFeatures:
    return measure_subject(subject, read_lesion(subject), subject.id, smooth_voxels=smooth_voxels)


def _more_masks(
    prior: LesionPrior | None,
    behind: Sequence[Subject],
    wanted: tuple[int, SyntheticAuditConfig],
    plan: str | None,
) -> list[dict[str, float]]:
    """Draw masks like the set's, by wishes of the same kind, without images."""
    own, config = wanted
    if prior is None or not config.masks:
        return []
    requests = sample_requests(prior, own + config.masks, config.seed, plan)[own:]
    return sample_shapes(prior, behind, requests, config.seed)


def _rejected(made: Sequence[Subject]) -> tuple[int, int]:
    """Return rejected and all draws of the synthetic patients."""
    ill = [s for s in made if s.group == "patient"]
    rejected = sum(len({row["attempt"] for row in read_json(sidecar_path(s))["Rejected"]})
                   for s in ill)  # fmt: skip
    return rejected, rejected + len(ill)

"""Read a synthetic set and the real subjects it is compared with into portraits."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lesionforge.cohort.bids import json_path
from lesionforge.cohort.subject import Subject, read_brain, read_lesion
from lesionforge.errors import DataError, LineageError, MaskError
from lesionforge.fidelity.judge import FidelityConfig, Scene
from lesionforge.fidelity.portrait import Portrait, draw_portrait
from lesionforge.generator.anatomy import Anatomy, read_anatomy
from lesionforge.generator.recipe import SynthesisConfig, SynthesisSpec
from lesionforge.generator.render import find_place
from lesionforge.masks.descriptors import describe_mask
from lesionforge.masks.host import read_host
from lesionforge.masks.prior import MaskPrior
from lesionforge.masks.render import render_mask
from lesionforge.masks.sample import sample_spec
from lesionforge.provenance import read_json
from lesionforge.seeding import stream


def read_scene(
    made: Sequence[Subject],
    behind: Sequence[Subject],
    fresh: Sequence[Subject],
    synthesis: SynthesisConfig,
    config: FidelityConfig,
) -> Scene:
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
    places = _Places(behind, synthesis)
    ill = [s for s in made if s.group == "patient"]
    patients = [_synthetic(s, places.of(s), True) for s in tqdm(ill, desc="synthetic patients")]
    lesions = [read_lesion(s) for s in ill]
    controls = []
    for number, subject in enumerate(
        tqdm([s for s in made if s.group == "control"], desc="synthetic controls")
    ):
        place = places.of(subject)
        place = lesions[number % len(lesions)] if place is None else place
        controls.append(_synthetic(subject, place & read_brain(subject), False))
    trained = [s for s in behind if s.group == "patient"]
    others = [s for s in fresh if s.group == "patient"]
    return Scene(
        patients=patients,
        controls=controls,
        fresh=[_real(s) for s in tqdm(others, desc="fresh patients")],
        healthy=list(_healthy([s for s in fresh if s.group == "control"], others)),
        trained=[_real(s) for s in tqdm(trained, desc="training patients")],
        spoilt=[_real(s, config.blur_voxels) for s in tqdm(trained, desc="a bad set on purpose")],
        masks=[*(p.shape for p in patients if p.shape), *_more_masks(root, behind, config)],
        rejected=_rejected(made),
        whole=synthesis.mode == "whole",
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
            "some training patients out of the baseline, or name more roles with --against."
        )


class _Places:
    """Where each synthetic subject was changed, told from its sidecar."""

    def __init__(self, behind: Sequence[Subject], synthesis: SynthesisConfig) -> None:
        self.synthesis = synthesis
        by_id = {s.id: s for s in behind}

        @lru_cache(maxsize=4)
        def read(name: str) -> Anatomy:
            return read_anatomy(by_id[name])

        self.read = read

    def of(self, subject: Subject) -> np.ndarray | None:
        spec = SynthesisSpec.from_json(read_json(json_path(subject, "T1w"))["Spec"])
        return find_place(spec, self.read, self.synthesis)


def _synthetic(subject: Subject, place: np.ndarray | None, ill: bool) -> Portrait:
    known = read_json(json_path(subject, "T1w"))
    checks = known["QualityChecks"] if ill else {}
    return draw_portrait(
        subject,
        place,
        known["Host"],
        asked=checks.get("ConspicuityAsked"),
        before=checks.get("ConspicuityBefore"),
    )


def _real(subject: Subject, smooth_voxels: float = 0.0) -> Portrait:
    return draw_portrait(subject, read_lesion(subject), subject.id, smooth_voxels=smooth_voxels)


def _healthy(controls: Sequence[Subject], patients: Sequence[Subject]) -> Sequence[Portrait]:
    """Give each fresh control the place of a fresh patient's lesion, in turn."""
    found = []
    for number, subject in enumerate(tqdm(controls, desc="fresh controls")):
        place = read_lesion(patients[number % len(patients)]) & read_brain(subject)
        found.append(draw_portrait(subject, place if place.any() else None, subject.id))
    return found


def _more_masks(
    root: Path, behind: Sequence[Subject], config: FidelityConfig
) -> list[dict[str, float]]:
    """Draw masks from the set's prior on its hosts, without images."""
    if not (root / "prior.json").exists() or not config.masks:
        return []
    prior = MaskPrior.from_json(read_json(root / "prior.json"))
    controls = [s for s in behind if s.group == "control"] or list(behind)
    hosts = [read_host(s) for s in controls]
    found = []
    for number in tqdm(range(config.masks), desc="more masks"):
        host = hosts[number % len(hosts)]
        try:
            spec = sample_spec(prior, host, stream(config.seed, "audit", "mask", number))
        except MaskError:
            continue
        found.append(describe_mask(render_mask(spec, host), host))
    return found


def _rejected(made: Sequence[Subject]) -> tuple[int, int]:
    """Return rejected and all draws of the synthetic patients."""
    ill = [s for s in made if s.group == "patient"]
    rejected = sum(len({row["attempt"] for row in read_json(json_path(s, "T1w"))["Rejected"]})
                   for s in ill)  # fmt: skip
    return rejected, rejected + len(ill)

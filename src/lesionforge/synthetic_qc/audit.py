"""Judge a synthetic set by its portraits: every figure beside the same figure of real data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.metrics.intervals import Estimate
from lesionforge.synthetic_qc.conditioning import asked_findings
from lesionforge.synthetic_qc.diversity import variety_findings
from lesionforge.synthetic_qc.features import EDGE_MM, ZONES
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.mask_distribution import mask_findings
from lesionforge.synthetic_qc.memorization import Match, copy_findings, volume_findings
from lesionforge.synthetic_qc.subject_features import SubjectFeatures
from lesionforge.synthetic_qc.two_sample import Sample, classifier_test, kernel_distance

LIMITS = {"whole": 0.75, "near": 0.65}
WORDS = {"whole": "whole brains", "near": "lesions and what is around them"}


@dataclass(frozen=True, eq=False)
class AuditData:
    """Who is judged and who they are compared with.

    Attributes:
        channels: BIDS suffixes of the images.
        patients: synthetic patients.
        controls: synthetic controls without a deliberate artifact, with the places of null
            lesions.
        with_artifact: number of synthetic controls that carry a deliberate artifact.
        fresh: real patients that do not stand behind the set.
        healthy: real controls that do not, with places where a lesion could be.
        trained: the real patients behind the set.
        hosts: the real controls behind it.
        spoilt: the training patients, blurred on purpose: what a bad set looks like.
        masks: descriptors of synthetic masks and of more that were drawn like them.
        rejected: draws that were rejected, and all draws.
        whole: whether complete volumes were made.
    """

    channels: tuple[str, ...]
    patients: Sequence[SubjectFeatures]
    controls: Sequence[SubjectFeatures]
    with_artifact: int
    fresh: Sequence[SubjectFeatures]
    healthy: Sequence[SubjectFeatures]
    trained: Sequence[SubjectFeatures]
    hosts: Sequence[SubjectFeatures]
    spoilt: Sequence[SubjectFeatures]
    masks: Sequence[dict[str, float]]
    rejected: tuple[int, int]
    whole: bool


def judge(audit_data: AuditData, seed: int) -> tuple[list[Finding], list[Match]]:
    """Judge a synthetic set.

    Returns:
        The findings in the order of `lesionforge.synthetic_qc.finding.Part`, and each synthetic
        lesion's nearest training lesion, likest first.
    """
    own, fresh, trained = (
        [p.shape for p in group if p.shape]
        for group in (audit_data.patients, audit_data.fresh, audit_data.trained)
    )
    copies, matches = copy_findings(audit_data.patients, audit_data.fresh, audit_data.trained, seed)
    if audit_data.whole:
        made, others = (
            [*audit_data.patients, *audit_data.controls],
            [*audit_data.fresh, *audit_data.healthy],
        )
        copies += volume_findings(made, others, [*audit_data.trained, *audit_data.hosts])
    found = [
        *mask_findings(audit_data.masks, own, fresh, trained),
        *asked_findings(
            audit_data.channels,
            (audit_data.patients, audit_data.fresh, audit_data.trained),
            audit_data.rejected,
            seed,
        ),
        *_realism(audit_data, "whole", seed),
        *_realism(audit_data, "near", seed),
        *_leakage(audit_data, seed),
        *variety_findings(audit_data.patients, audit_data.fresh, audit_data.trained, seed),
        *copies,
    ]
    return found, matches


def sample(subject_features: Sequence[SubjectFeatures], what: str) -> Sample:
    """Return the features called `what` of those who have them, grouped by host."""
    known = [p for p in subject_features if getattr(p, what) is not None]
    rows = [getattr(p, what) for p in known]
    return Sample(np.stack(rows) if rows else np.empty((0, 0)), [p.host for p in known])


def _realism(audit_data: AuditData, what: str, seed: int) -> list[Finding]:
    made, fresh, trained, spoilt = (
        sample(group, what)
        for group in (audit_data.patients, audit_data.fresh, audit_data.trained, audit_data.spoilt)
    )
    test, usual, bad = (classifier_test(fresh, other, seed) for other in (made, trained, spoilt))
    words = WORDS[what]
    hosts = ""
    if what == "whole" and not audit_data.whole:
        apart = classifier_test(fresh, sample(audit_data.hosts, what), seed).auc
        hosts = f" The hosts, real controls, from fresh patients: {_percent(apart)}."
    name = f"two-sample AUC of {words}"
    found = [
        Finding(
            "realism",
            name,
            test.auc.value,
            "lower",
            f"A classifier tells synthetic from fresh real {words} in {_percent(test.auc)} of pairs"
            f" (chance gives as much with p = {_number(test.chance)}); training patients from "
            f"fresh ones in {_percent(usual.auc)}.{hosts}",
            ci95=test.auc.ci95,
            real=usual.auc.value,
            limit=LIMITS[what],
            why=test.auc.why,
        )
    ]
    if test.auc.value is not None:
        distance, chance = kernel_distance(made, fresh, seed)
        real, _ = kernel_distance(trained, fresh, seed)
        name = f"kernel distance of {words}"
        sentence = f"0 is the same distribution; as large by chance with p = {chance:.3f}."
        found.append(Finding("realism", name, distance, "lower", sentence, real=real))
    found.append(
        Finding(
            "realism",
            f"AUC of a blurred set, {words}",
            bad.auc.value,
            "higher",
            "The same test on real training patients that were blurred on purpose: below 0.9 the "
            "test is too weak, and a low AUC above means little.",
            ci95=bad.auc.ci95,
            limit=0.9,
            why=bad.auc.why,
        )
    )
    return found


def _leakage(audit_data: AuditData, seed: int) -> list[Finding]:
    """Tell synthetic patients from controls by what is around the lesion, not by the lesion.

    Masks are drawn a little inside of what a lesion does to the images, so real ones show in the
    first millimetres beyond their mask as well. What lies further away must tell nothing.
    """
    found = []
    places = (f"up to {EDGE_MM:g} mm from", f"further than {EDGE_MM:g} mm from")
    artifacts = (
        f" {audit_data.with_artifact} controls with an artifact are left out."
        if audit_data.with_artifact
        else ""
    )
    for zone, words in zip(ZONES, places, strict=True):
        ill, well, sick, sound = (
            _zone(sample(group, "around"), zone)
            for group in (
                audit_data.patients,
                audit_data.controls,
                audit_data.fresh,
                audit_data.healthy,
            )
        )
        test, usual = classifier_test(well, ill, seed), classifier_test(sound, sick, seed)
        sentence = (
            f"By what lies {words} the lesion, with the lesion masked out, a classifier tells "
            f"patients from controls in {_percent(test.auc)} of pairs (by chance with p = "
            f"{_number(test.chance)}); real ones in {_percent(usual.auc)}."
        )
        sentence += (
            " Far more than in real data would be a trace of the making."
            if zone == "edge"
            else " Above 50 % a detector could learn the surroundings instead of the lesion."
        )
        found.append(
            Finding(
                "leakage",
                f"AUC of what lies {words} the lesion",
                test.auc.value,
                "lower" if zone == "edge" else "half",
                sentence + artifacts,
                ci95=test.auc.ci95,
                real=usual.auc.value,
                why=test.auc.why,
            )
        )
    return found


def _zone(features: Sample, zone: str) -> Sample:
    """Keep the features of a zone around lesions."""
    if not len(features):
        return features
    parts = np.split(features.values, len(ZONES), axis=1)
    return Sample(parts[ZONES.index(zone)], features.groups)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _percent(estimate: Estimate) -> str:
    return "an unknown share" if estimate.value is None else f"{100 * estimate.value:.0f} %"

"""Masks, conditioning and variety: planted faults change the figures, undefined ones say why."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.errors import ConfigError
from lesionforge.lesions.appearance import Conspicuity
from lesionforge.preprocessing.regions import REGIONS
from lesionforge.synthetic_qc.audit import AuditData, judge
from lesionforge.synthetic_qc.conditioning import asked_findings
from lesionforge.synthetic_qc.config import SyntheticAuditConfig
from lesionforge.synthetic_qc.diversity import density_coverage, variety_findings
from lesionforge.synthetic_qc.features import around_names
from lesionforge.synthetic_qc.finding import Finding, standing
from lesionforge.synthetic_qc.mask_distribution import WORDS, mask_findings
from lesionforge.synthetic_qc.subject_features import SubjectFeatures
from tests.contrasts import in_rows

CHANNELS = ("T1w", "FLAIR")

FRONT, BACK = REGIONS.index("frontal"), REGIONS.index("occipital")


def shapes(seed: int, n: int, volume: float = 2000.0, place: int = FRONT) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    names = [*WORDS, "x_mm"]
    rows = [{name: float(rng.normal()) for name in names} for _ in range(n)]
    for row in rows:
        row |= {"volume_mm3": volume * float(rng.lognormal(0, 0.5)), "place": float(place)}
        row["side"] = float(rng.choice([-1, 1]))
    return rows


def test_masks_of_one_population_are_near_and_larger_ones_are_told():
    own, fresh, trained = shapes(9, 20), shapes(1, 300), shapes(2, 40)
    same = mask_findings(shapes(0, 400), own, fresh, trained)
    assert max(f.value for f in same if f.name.startswith("KS")) < 0.15
    assert all(f.met for f in same if f.limit is not None)
    larger = mask_findings(shapes(0, 400, volume=6000), own, fresh, trained)
    assert [f.name for f in larger if f.met is False] == ["KS distance of volume"]
    assert same[0].real is not None


def test_what_few_fresh_masks_miss_by_chance_is_left_open():
    missed = open_ = 0
    for seed in range(10):
        found = mask_findings(shapes(seed, 100), [], shapes(100 + seed, 15), [])[:-1]
        missed += sum(f.met is False for f in found)
        open_ += sum(f.met is None for f in found)
    assert open_ > 10  # beyond 0.2, as 15 masks often are
    assert missed <= 2


def test_lobes_that_the_set_lacks_are_named():
    fresh = [*shapes(1, 30), *shapes(2, 10, place=BACK)]
    found = mask_findings(shapes(3, 50, place=BACK), shapes(0, 40), fresh, [])[-1]
    assert found.value == pytest.approx(0.75)  # masks that the set does not have cover nothing
    assert "occipital" in found.sentence


def test_few_masks_are_not_compared():
    (found,) = mask_findings(shapes(0, 3), [], shapes(1, 30), [])
    assert found.value is None
    assert "too few" in found.why


def lesion(
    name: str, total: float, asked: float | None = None, t1w: float = 0.0, matched: float = 1.0
) -> SubjectFeatures:
    shown = Conspicuity(
        change=(-0.4 * total + t1w, 0.9 * total),
        contrast=in_rows(-0.4 * total, 0.9 * total, 0.0, -total),
        blur=0.1,
        total=total,
    )
    small = np.zeros((2, 32, 32, 32), np.float16)
    return SubjectFeatures(
        name, "patient", "A", name, np.zeros(3), small,
        shown=shown, asked=asked, matched=matched, before=(0.0, 0.1),
    )  # fmt: skip


def test_a_lesion_that_does_not_show_is_counted():
    strengths = np.linspace(0.5, 3, 20)
    made = [lesion(f"s{i}", float(v), float(v)) for i, v in enumerate(strengths)]
    made[3] = lesion("s3", 0.2, float(strengths[3]))
    made[5] = lesion("s5", float(strengths[5]), float(strengths[5]), matched=-1.0)
    made[6] = replace(made[6], before=(float(strengths[6]), 0.6))
    real = [lesion(f"r{i}", float(v)) for i, v in enumerate(strengths)]
    found = {f.name: f for f in asked_findings(CHANNELS, (made, real, real[::2]), (5, 25), 0)}
    assert found["lesions that show"].counts == (19, 20)
    assert found["lesions that show"].met is False
    assert "1 of 20 did" in found["lesions that show"].sentence
    assert found["strengths reached"].counts == (19, 20)
    assert "1 of 20 did" in found["strengths reached"].sentence
    assert "Median conspicuity before 0.00, after 1.75." in found["strengths reached"].sentence
    assert found["order of strengths kept"].value > 0.9
    assert found["draws rejected"].value == 0.2
    assert found["draws rejected"].met is True


def test_a_wrong_contrast_is_told_at_equal_conspicuity():
    rng = np.random.default_rng(0)
    strengths = rng.uniform(0.5, 3, 30)
    real = [lesion(f"r{i}", float(v), t1w=rng.normal(0, 0.05)) for i, v in enumerate(strengths)]
    right = [lesion(f"s{i}", float(v), float(v)) for i, v in enumerate(strengths + 0.01)]
    wrong = [lesion(f"s{i}", float(v), float(v), t1w=0.5) for i, v in enumerate(strengths)]
    name = "difference of T1w contrast with the tissue around"
    gaps = [
        next(
            f.value
            for f in asked_findings(CHANNELS, (made, real, real[::2]), (0, 30), 0)
            if f.name == name
        )
        for made in (right, wrong)
    ]
    assert gaps[0] < 0.3
    assert gaps[1] > 1


def test_signs_that_are_not_kept_are_told():
    rng = np.random.default_rng(1)
    asked = rng.normal(0, 1, (30, 8)) * [1, 1, 1, 0, 1, 1, 1, 1]
    strengths = rng.uniform(0.5, 3, 30)

    def kept(shown):
        made = [
            replace(
                p,
                requested_contrast=in_rows(*(v * a)),
                shown=replace(p.shown, contrast=in_rows(*(v * s))),
            )
            for v, a, s in zip(strengths, asked, shown, strict=True)
            for p in [lesion("s", float(v), float(v))]
        ]
        found = asked_findings(CHANNELS, (made, made, made), (0, 30), 0)
        return next(f for f in found if f.name == "contrast of the tissues kept")

    assert kept(asked).value == pytest.approx(1.0)
    assert "FLAIR in white matter " not in kept(asked).sentence.replace(
        "matter around", "around"
    )  # nothing was asked of it
    assert kept(-asked).value == pytest.approx(-1.0)
    assert abs(kept(rng.normal(0, 1, (30, 8))).value) < 0.3
    one_look = np.array([-0.4, 0.9, 0.2, 0.1] * 2) + rng.normal(0, 0.01, (30, 8))
    assert abs(kept(one_look).value) < 0.3  # as strong as asked, but the same for all


def test_the_sentence_about_strengths_follows_the_figure():
    strengths = np.linspace(0.5, 3, 20)
    real = [lesion(f"r{i}", float(v)) for i, v in enumerate(strengths)]
    name = "order of strengths kept"

    def order(made: list[SubjectFeatures]) -> Finding:
        return next(
            f for f in asked_findings(CHANNELS, (made, real, real), (0, 20), 0) if f.name == name
        )

    upside = [lesion(f"s{i}", float(3.5 - v), float(v)) for i, v in enumerate(strengths)]
    assert "does not surely follow" in order(upside).sentence
    right = [lesion(f"s{i}", float(v), float(v)) for i, v in enumerate(strengths)]
    assert order(right).sentence.startswith("Lesions asked to be stronger are")
    alike = order([lesion(f"s{i}", float(v), 1.0) for i, v in enumerate(strengths)])
    assert alike.value is None
    assert "alike" in alike.why


def test_lesions_without_a_real_one_of_their_strength_are_not_compared():
    real = [lesion(f"r{i}", float(v)) for i, v in enumerate(np.linspace(0.5, 1.5, 20))]
    beyond = [lesion(f"s{i}", 9.0 + i, 9.0 + i) for i in range(12)]
    found = [
        f
        for f in asked_findings(CHANNELS, (beyond, real, real), (0, 12), 0)
        if "difference" in f.name
    ]
    assert len(found) == 3
    assert all(f.value is None and f.why.startswith("0 lesions") for f in found)


def test_a_set_for_which_nothing_was_asked_says_so():
    made = [lesion(f"s{i}", 1.0) for i in range(8)]
    first = asked_findings(CHANNELS, (made, made, made), (0, 0), 0)[0]
    assert first.value is None
    assert "paste" in first.why


def test_density_and_coverage_are_what_their_paper_says():
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(40, 3)), rng.normal(size=(25, 3))
    z = (real - real.mean(0)) / real.std(0)
    y = (made - real.mean(0)) / real.std(0)
    radius = [sorted(np.linalg.norm(z - p, axis=1))[5] for p in z]
    inside = [[np.linalg.norm(a - b) <= r for b in y] for a, r in zip(z, radius, strict=True)]
    density, coverage = density_coverage(made, real)
    assert density == pytest.approx(np.sum(inside) / (5 * 25))
    assert coverage == pytest.approx(np.mean(np.any(inside, axis=1)))
    one = np.repeat(real[:1], 25, axis=0)
    assert density_coverage(one, real)[1] < 0.4 < density_coverage(real, real)[1] == 1.0


def test_a_set_that_repeats_itself_is_more_alike():
    rng = np.random.default_rng(0)

    def people(n: int, spread: float) -> list[SubjectFeatures]:
        base = np.random.default_rng(5).uniform(0.2, 0.8, (2, 32, 32, 32))
        return [
            SubjectFeatures(
                f"p{i}", "patient", "A", f"p{i}", rng.normal(0, spread, 4),
                np.clip(base + rng.normal(0, spread, base.shape), 0, 1).astype(np.float16),
                near=rng.normal(0, spread, 4),
            )
            for i in range(n)
        ]  # fmt: skip

    made, fresh, trained = people(8, 0.01), people(30, 0.2), people(8, 0.2)
    found = {f.name: f for f in variety_findings(made, fresh, trained, 0)}
    alike = found["MS-SSIM between pairs"]
    assert alike.value > alike.real + 0.1
    assert found["coverage of lesions"].value < found["coverage of lesions"].real


@pytest.mark.parametrize("zone", [None, "edge", "rim"])
def test_a_trace_around_lesions_is_told_where_it_is(zone):
    rng = np.random.default_rng(0)
    names = around_names(CHANNELS)
    columns = [zone is not None and name.startswith(zone) for name in names]

    def people(group: str, n: int, trace: bool) -> list[SubjectFeatures]:
        values = rng.normal(size=(n, len(names))) + 1.5 * trace * np.array(columns)
        small = np.zeros((2, 32, 32, 32), np.float16)
        return [
            SubjectFeatures(
                f"{group}{i}", group, "A", f"{group}{i}", np.zeros(3), small, around=row
            )
            for i, row in enumerate(values)
        ]

    ill, well = people("patient", 30, trace=True), people("control", 30, trace=False)
    none: list[SubjectFeatures] = []
    audit_data = AuditData(
        CHANNELS, ill, well, 0, none, none, none, none, none, [], (0, 0), whole=False
    )
    edge, rim = (f for f in judge(audit_data, 0)[0] if f.part == "leakage")
    assert (edge.value > 0.8) == (zone == "edge")
    assert rim.met is (zone != "rim")
    assert edge.real is None


def test_a_finding_knows_which_side_of_its_limit_is_right():
    low = Finding("realism", "x", 0.7, "lower", "", limit=0.75)
    high = Finding("conditioning", "x", 0.7, "higher", "", limit=0.75)
    coin = Finding("leakage", "x", 0.6, "half", "", ci95=(0.45, 0.75))
    sure = Finding("leakage", "x", 0.6, "half", "", ci95=(0.55, 0.65))
    vague = Finding("leakage", "x", 0.6, "half", "", ci95=(0.1, 0.9))
    unsure = Finding("masks", "x", 0.3, "lower", "", limit=0.2, sure=False)
    findings = (low, high, coin, sure, vague, unsure)
    assert [f.met for f in findings] == [True, False, True, False, None, None]
    assert Finding("masks", "x", None, "lower", "", limit=1).met is None
    assert low.to_json()["arrow"] == "↓"


@pytest.mark.parametrize(
    "wrong", [{"against": ()}, {"against": ("tests",)}, {"masks": -1}, {"blur_voxels": 0.0}]
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SyntheticAuditConfig(**wrong)


@pytest.mark.parametrize(
    ("value", "better", "limit", "sure", "ci95", "expected"),
    [
        (0.1, "lower", 0.2, True, None, "met"),
        (0.3, "lower", 0.2, True, None, "not met"),
        (0.3, "lower", 0.2, False, None, "open"),  # no more than chance gives
        (0.6, "half", None, True, (0.2, 0.9), "open"),  # too wide to say
        (0.6, "half", None, True, (0.45, 0.7), "met"),
        (0.3, "lower", None, True, None, ""),
        (None, "half", None, True, None, ""),
    ],
)
def test_a_demand_is_met_missed_or_open(value, better, limit, sure, ci95, expected):
    found = Finding("masks", "x", value, better, "", ci95=ci95, limit=limit, sure=sure)
    assert standing(found.to_json()) == expected

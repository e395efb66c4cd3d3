"""What a simulated expert does with some minutes: a catalogue, two ways to choose, the answers.

See `next_cases_study.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from lesionforge.data.labels import Label, label_sets, write_label_set
from lesionforge.data.subject import Subject
from lesionforge.detection.inference import load_detector
from lesionforge.errors import DataError
from lesionforge.label_qc.corruption import CorruptConfig, move_mask, read_region, spoil
from lesionforge.label_qc.new_patients import value_new_patients
from lesionforge.label_qc.next_cases import NextConfig, inspect_actions, plan
from lesionforge.label_qc.worth import Worth
from lesionforge.provenance import read_tsv, sha256_json, write_tsv
from lesionforge.report.runs import Run
from lesionforge.seeding import stream
from lesionforge.study.config import Study
from planting import (
    check_made_with,
    labelled,
    right_label,
    right_labels,
    settings,
    train_arm,
    unlabelled_patients,
)

ARMS = ("list", "random")
UNIT = Worth(label=1.0, synthetic=None, false_positive=0.0, basis="gains in worths of a label")


def catalogue(
    study: Study, seed: int, ranking: pd.DataFrame, costs: NextConfig, minutes: float
) -> pd.DataFrame:
    """Return the list of a planting: all actions, ranked, those within the minutes chosen.

    Gains are in worths of a label. Every gain and risk in it is proportional to that worth, so it
    is the list that `next-cases` makes for any positive worth.

    Args:
        study: the study.
        seed: of the planting.
        ranking: of its labels, see `rank_labels`; the truth in it is not read.
        costs: minutes of each action, and how readers err.
        minutes: to be spent.
    """
    right = right_labels(study)
    fresh = [right[i] for i in unlabelled_patients(study, seed)]
    detector = load_detector(study.root / "label-audit" / "baseline" / f"seed-{seed}")
    given = ranking.drop(columns="truth")
    actions = inspect_actions(given, UNIT, costs)
    actions += value_new_patients(detector, fresh, given, UNIT, costs)
    return plan(actions, minutes)


def choose_by_chance(table: pd.DataFrame, minutes: float, rng: np.random.Generator) -> pd.DataFrame:
    """Choose other actions of a list: drawn uniformly, passing over what does not fit any more."""
    chosen, left = np.zeros(len(table), dtype=int), minutes
    costs = table["minutes"].to_numpy(dtype=float)
    for row in rng.permutation(len(table)):
        if costs[row] <= left:
            chosen[row], left = 1, left - costs[row]
    return table.assign(chosen=chosen)


def choose(
    study: Study, seed: int, ranking: pd.DataFrame, costs: NextConfig, minutes: float
) -> dict[str, pd.DataFrame]:
    """Choose the actions of both arms of a planting; done once, and kept as tables."""
    folder = study.root / "label-audit" / "next" / f"planting-{seed}"
    known = sha256_json(ranking[["participant_id", "risk"]].round(6).to_dict("list"))
    facts = {"minutes": minutes, "costs": asdict(costs), "ranking": known}
    check_made_with(folder, {**facts, **settings(study)})
    if not (folder / "random.tsv").exists():
        table = catalogue(study, seed, ranking, costs, minutes)
        write_tsv(folder / "list.tsv", table)
        rng = stream(seed, "next-cases", "random")
        write_tsv(folder / "random.tsv", choose_by_chance(table, minutes, rng))
    columns = {"action": str, "subject": str, "minutes": float, "chosen": int}
    return {entry: read_tsv(folder / f"{entry}.tsv", **columns) for entry in ARMS}


def ask_expert(
    subject: Subject, donors: Sequence[Subject], seed: int, error: float
) -> tuple[Label, bool]:
    """Return what the simulated expert of a planting says of a subject, and whether that is wrong.

    The answer depends on planting and subject alone, whoever asks and whatever the given label is.
    An expert who errs overlooks a patient's lesion or draws it elsewhere, with equal chance, and
    draws a lesion in a control.

    Args:
        subject: with its right label.
        donors: labelled patients, of whom a spurious lesion has its shape.
        seed: of the planting.
        error: chance of erring.
    """
    rng = stream(seed, "expert", subject.id)
    if rng.random() >= error:
        return right_label(subject, "next-cases"), False
    mask, config = None, CorruptConfig()
    try:
        region = read_region(subject)
        if subject.group == "control":
            donor = read_region(donors[int(rng.integers(len(donors)))])
            mask = move_mask(donor, region, rng, config.shift_mm)
        elif rng.random() < 0.5:
            mask = spoil(region, "shifted", rng, config.shift_mm)
    except DataError:  # no place to draw it elsewhere
        if subject.group == "control":
            return right_label(subject, "next-cases"), False
    return Label(mask, "synthetic", "simulated expert", "next-cases, erring"), True


def carry_out(
    study: Study, seed: int, entry: str, actions: pd.DataFrame, costs: NextConfig
) -> pd.DataFrame:
    """Send the expert to the chosen actions and write the arm's label set.

    Returns:
        The actions that were done, with `wrong` (the label that is there now is wrong).
    """
    right, name = right_labels(study), f"{entry}{seed}"
    donors = [right[i] for i in labelled(study, seed) if right[i].group == "patient"]
    done = actions[actions["chosen"] == 1]
    answers = {i: ask_expert(right[i], donors, seed, costs.reader_error) for i in done["subject"]}
    if name not in label_sets(study.cohort_root):
        labels = {i: label for i, (label, _) in answers.items()}
        write_label_set(study.cohort_root, name, f"planted{seed}", labels)
    return done.assign(wrong=[int(answers[i][1]) for i in done["subject"]])


def one_arm(
    study: Study, seed: int, entry: str, actions: pd.DataFrame, costs: NextConfig
) -> tuple[Run, pd.DataFrame]:
    """Do the chosen actions of an arm, train it once, and return the cell and what was done."""
    done = carry_out(study, seed, entry, actions, costs)
    bought = done.loc[done["action"] == "label", "subject"]
    return train_arm(study, entry, seed, f"{entry}{seed}", bought), done.assign(
        planting=seed, entry=entry
    )


def count_actions(done: pd.DataFrame, truth: pd.Series) -> dict[str, float]:
    """Count what an arm's minutes have bought.

    Args:
        done: actions of one arm and planting, see `carry_out`.
        truth: participant id to the kind of planted error or `right`, of the given labels.
    """
    inspected = done[done["action"] == "inspect"]
    bought = done[done["action"] == "label"]
    was_wrong = inspected["subject"].map(truth) != "right"
    return {
        "minutes": float(done["minutes"].sum()),
        "inspected": len(inspected),
        "corrected": int((was_wrong & (inspected["wrong"] == 0)).sum()),
        "spoiled": int((~was_wrong & (inspected["wrong"] == 1)).sum()),
        "bought": len(bought),
        "bought_wrong": int(bought["wrong"].sum()),
        "expected_gain": float((done["gain"] - done["risk"]).sum()),
    }

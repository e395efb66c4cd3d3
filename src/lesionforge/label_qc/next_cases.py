"""What should the next expert minute be spent on? One list of actions, ranked by their return.

    return = (gain - risk) / minutes

in points of sensitivity at the matched operating point, per minute. Nothing is assumed about what a
label is worth: it is read from the study's own regimes (`lesionforge.label_qc.worth`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionforge.errors import ConfigError
from lesionforge.label_qc.config import ActionKind, NextConfig
from lesionforge.label_qc.worth import Worth

WORDS: dict[ActionKind, str] = {
    "label": "label a new patient",
    "inspect": "inspect a label again",
    "adjudicate": "decide between two readers",
    "validate": "look at a synthetic volume",
    "look": "look at a repeated false positive",
}
FORMULAS: dict[ActionKind, str] = {
    "label": "gain = worth of a label x uncertainty / mean uncertainty; "
    "risk = chance of a wrong label x harm",
    "inspect": "gain = risk of the label x (worth + harm); "
    "risk = (1 - risk of the label) x reader's error x (worth + harm)",
    "adjudicate": "gain = disagreement x (worth + harm) / 2; "
    "risk = reader's error x (worth + harm)",
    "validate": "gain = chance that it is bad x |worth of a synthetic patient|; "
    "risk = (1 - chance) x reader's error x the same",
    "look": "gain = sensitivity per false positive a subject x its share of them; risk = 0",
}


@dataclass(frozen=True)
class Action:
    """Something an expert could do.

    Attributes:
        kind: what.
        subject: of whom.
        why: in words.
        gain: expected, in points of sensitivity.
        risk: expected loss by an error, in points.
        minutes: that it takes.
    """

    kind: ActionKind
    subject: str
    why: str
    gain: float
    risk: float
    minutes: float

    @property
    def rate(self) -> float:
        """Expected net gain a minute."""
        return (self.gain - self.risk) / self.minutes


def label_actions(
    uncertainty: Mapping[str, float], error_rate: float, worth: Worth, config: NextConfig
) -> list[Action]:
    """Value new labels.

    Args:
        uncertainty: of the detector about each patient without a label, in [0, 1].
        error_rate: share of wrong labels, as the audit estimates it.
        worth: see `Worth`.
        config: costs.
    """
    mean = float(np.mean(list(uncertainty.values()))) if uncertainty else 1.0
    return [
        Action(
            "label",
            name,
            f"the detector's uncertainty is {value / max(mean, 1e-9):.1f} times the usual",
            worth.label * value / max(mean, 1e-9),
            error_rate * config.harm * worth.label,
            config.minutes_each["label"],
        )
        for name, value in uncertainty.items()
    ]


def inspect_actions(labels: pd.DataFrame, worth: Worth, config: NextConfig) -> list[Action]:
    """Value a second look at given labels; `labels` as `audit_labels` returns them."""
    stake = worth.label * (1 + config.harm)
    return [
        Action(
            "inspect",
            row["participant_id"],
            f"risk {row['risk']:.2f}: {row['reasons'] or 'no single reason'}",
            row["risk"] * stake,
            (1 - row["risk"]) * config.reader_error * stake,
            config.minutes_each["inspect"],
        )
        for row in labels.to_dict("records")
    ]


def adjudicate_actions(
    dice: Mapping[str, float], readers: tuple[str, str], worth: Worth, config: NextConfig
) -> list[Action]:
    """Value a decision between two readers whose masks overlap by `dice` (participant id to it)."""
    stake = worth.label * (1 + config.harm)
    return [
        Action(
            "adjudicate",
            name,
            f"{readers[0]} and {readers[1]} overlap by Dice {value:.2f}",
            (1 - value) * stake / 2,
            config.reader_error * stake,
            config.minutes_each["adjudicate"],
        )
        for name, value in dice.items()
        if value < 1
    ]


def validate_actions(bad: Mapping[str, float], worth: Worth, config: NextConfig) -> list[Action]:
    """Value a look at synthetic patients, `bad` being the chance that each is no use."""
    if worth.synthetic is None:
        return []
    each = abs(worth.synthetic)
    return [
        Action(
            "validate",
            name,
            f"its lesion hardly shows (chance {value:.2f} that it is no use)",
            value * each,
            (1 - value) * config.reader_error * each,
            config.minutes_each["validate"],
        )
        for name, value in bad.items()
    ]


def look_actions(
    repeats: Mapping[str, tuple[int, int]], subjects: int, worth: Worth, config: NextConfig
) -> list[Action]:
    """Value a look at false positives that come back.

    Args:
        repeats: participant id to how many of how many trainings have a false positive at one
            place.
        subjects: held out.
        worth: see `Worth`.
        config: costs.
    """
    return [
        Action(
            "look",
            name,
            f"{count} of {trainings} trainings see something at the same place",
            worth.false_positive * count / trainings / subjects,
            0.0,
            config.minutes_each["look"],
        )
        for name, (count, trainings) in repeats.items()
    ]


def repeated_false_positives(
    runs: Sequence[pd.DataFrame], held_out: Sequence[Collection[str]], near_mm: float = 10.0
) -> dict[str, tuple[int, int]]:
    """Find false positives that several trainings share.

    Args:
        runs: `candidates.tsv` of each training, above its score threshold.
        held_out: ids that each training was tried on; with folds not everybody.
        near_mm: centres this close are one place.

    Returns:
        Participant id to (most trainings that agree on one place, trainings that it was held out
        of), where at least two agree.
    """
    false = [run[run["hit"] == 0] for run in runs]
    found = {}
    for name in sorted({i for run in false for i in run["participant_id"]}):
        centres = [
            run.loc[run["participant_id"] == name, ["x_mm", "y_mm", "z_mm"]].to_numpy(float)
            for run in false
        ]
        most = 0
        for own in centres:
            for centre in own:
                near = [
                    len(other) > 0 and np.linalg.norm(other - centre, axis=1).min() <= near_mm
                    for other in centres
                ]
                most = max(most, sum(map(bool, near)))
        if most >= 2:
            found[str(name)] = (most, sum(name in ids for ids in held_out))
    return found


def plan(actions: Iterable[Action], minutes: float) -> pd.DataFrame:
    """Rank actions by their return and mark those that fit into the minutes.

    Returns:
        One row an action: rank, action, subject, why, gain, risk, minutes, return, chosen (1 where
        it is done within the minutes: from the top, what does not fit is passed over, and nothing
        with a negative return is done).

    Raises:
        ConfigError: `minutes` is not positive.
    """
    if minutes <= 0:
        raise ConfigError(f"`minutes` must be above 0, got {minutes}.")
    ranked = sorted(actions, key=lambda a: (-a.rate, a.kind, a.subject))
    rows, left = [], minutes
    for rank, action in enumerate(ranked, start=1):
        chosen = action.rate > 0 and action.minutes <= left
        left -= action.minutes * chosen
        rows.append({
            "rank": rank,
            "action": action.kind,
            "subject": action.subject,
            "why": action.why,
            "gain": action.gain,
            "risk": action.risk,
            "minutes": action.minutes,
            "return": action.rate,
            "chosen": int(chosen),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["rank", "action", "chosen"])

"""The command that says what the next expert minute is best spent on."""

from lesionforge.label_qc.config import NextConfig
from lesionforge.study.config import Study
from lesionforge.study.records import recorded


def next_cases(
    study: Study,
    costs: NextConfig,
    minutes: float = 120.0,
    readers: tuple[str, ...] = (),
    set: str | None = None,
) -> None:
    """Rank in one list what an expert could do next, by expected gain a minute.

    Label a new patient, inspect a label again (after
    `audit-labels`), decide between two readers, look at a synthetic volume, look at a repeated
    false positive. New patients are those who are unlabelled in the study's label set; in a cohort
    without any, the training patients beyond the baseline stand in for them. Gains come from the
    study's own comparison: run `compare` first. Writes `audit/next.tsv` and `audit/next.json`
    (formulas and worths).

    Args:
        study: the study.
        costs: minutes of each action, and how readers err.
        minutes: to be spent.
        readers: two label sets of two readers.
        set: a synthetic set to be looked at.
    """
    from lesionforge.study.next_actions import rank_actions

    with recorded(study, "next_cases"):
        rank_actions(study, costs, minutes, readers, set)

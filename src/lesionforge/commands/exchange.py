"""Exchange with nnU-Net: training data out, predictions in."""

from pathlib import Path

from lesionforge.errors import ConfigError
from lesionforge.study.config import Study, check_name
from lesionforge.study.records import recorded

OURS = (
    *("audit", "cohort", "detector", "fold", "generator", "labels", "pre-labels", "raw", "report"),
    *("stages", "synthetic", "truth"),
)
"""Folders of a study, or how they begin, that no other tool's predictions may be written to."""


def export_nnunet(
    study: Study,
    regime: str,
    seed: int | None = None,
    fold: int | None = None,
    out: str = "nnUNet_raw",
    number: int = 501,
) -> None:
    """Write a regime as a raw data set of nnU-Net, one for each seed and fold.

    Args:
        study: the study.
        regime: whose training subjects.
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
        out: the folder that nnU-Net knows as `nnUNet_raw`.
        number: of the study's first seed and fold; the others follow, whichever are written.
    """
    from lesionforge.detection import nnunet
    from lesionforge.study import runs as study_runs

    wanted = set(study.seeds_and_folds(seed, fold))
    for index, (one_seed, one_fold) in enumerate(study.seeds_and_folds(None, None)):
        if (one_seed, one_fold) not in wanted:
            continue
        people = study_runs.run_subjects(study, regime, one_seed, one_fold)
        name = f"{study.name}_{study_runs.run_name(regime, one_seed, one_fold)}"
        folder = Path(out) / f"Dataset{number + index:03d}_{name}"
        nnunet.export(people.training, people.held_out, folder, one_seed)


def import_predictions(
    study: Study,
    predictions: str,
    regime: str,
    seed: int | None = None,
    fold: int | None = None,
    model: str = "nnunet",
) -> None:
    """Take the probability maps of another tool for a cell's validation and test subjects.

    Args:
        study: the study.
        predictions: folder of `<subject>.npz` (`nnUNetv2_predict --save_probabilities`) or of
            probability maps `<subject>.nii.gz`; with several cells a folder in it for each,
            `<regime>_seed-S` or `<regime>_seed-S_fold-F`.
        regime: that the tool was trained on.
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
        model: name of the tool; `compare_regimes.py --model NAME` compares its regimes.
    """
    check_name("model", model)
    if model in OURS or model.startswith(("fold-", "labels-", "report-")):
        raise ConfigError(f"`model` must not be {model}: a study keeps its own files there.")

    from lesionforge.detection import nnunet
    from lesionforge.study import runs as study_runs

    runs = list(study.seeds_and_folds(seed, fold))
    for one_seed, one_fold in runs:
        people = study_runs.run_subjects(study, regime, one_seed, one_fold)
        folder = study.detector_root(regime, one_seed, one_fold, model)
        name = study_runs.run_name(regime, one_seed, one_fold)
        where = Path(predictions) / name if len(runs) > 1 else Path(predictions)
        with recorded(study, f"import_{model}_{name}"):
            nnunet.import_maps(
                where, folder, people.training, people.held_out, people.roles, study.rules
            )

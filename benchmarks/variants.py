"""Phantoms of a study, changed and prepared anew."""

from pathlib import Path

from lesionforge.cohort.bids import read_cohort
from lesionforge.cohort.phantom import write_phantoms
from lesionforge.cohort.phantom_spec import PhantomSpec
from lesionforge.cohort.prepare import prepare_cohort
from lesionforge.cohort.subject import Subject
from lesionforge.study import Study


def prepare_variants(study: Study, specs: list[PhantomSpec], folder: Path) -> dict[str, Subject]:
    """Render phantoms and prepare them as the study does; resumes.

    Args:
        study: how they are prepared.
        specs: the phantoms, no two of one id.
        folder: gets raw/, truth/ and cohort/.

    Returns:
        Participant id to prepared subject.
    """
    knobs = study.cohort.prepare
    write_phantoms(specs, folder / "raw", folder / "truth", knobs.workers)
    prepare_cohort(folder / "raw", folder / "cohort", knobs)
    return {subject.id: subject for subject in read_cohort(folder / "cohort")}

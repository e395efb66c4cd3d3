"""Phantoms of a study, changed and prepared anew."""

from pathlib import Path

from lesionforge.data.cohort import read_cohort
from lesionforge.data.subject import Subject
from lesionforge.phantoms.cohort import write_phantoms
from lesionforge.phantoms.spec import PhantomSpec
from lesionforge.preprocessing.prepare import prepare_cohort
from lesionforge.study.config import Study


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

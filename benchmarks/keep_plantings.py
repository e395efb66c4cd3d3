"""Keep what the studies of planted label errors have found so far, and take it up elsewhere.

    python benchmarks/keep_plantings.py keep FOLDER --config configs/label_audit.yaml
    python benchmarks/keep_plantings.py restore FOLDER --config configs/label_audit.yaml

`keep` copies the small tables of the study's `label-audit/` (lists, candidates, subjects, what each
was made with; no weights, maps or logs) into a folder. `restore` puts them back beside a cohort
that was prepared anew from the same configuration: `label_audit.py` and `next_cases_study.py` then
go on with the plantings that are missing. Trainings that have not ended are left out. What is there
already gives way to what is copied, unless it was made with other settings.
"""

import argparse
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from arguments import read_arguments
from lesionforge.errors import DataError
from lesionforge.training import IDENTITY

logger = logging.getLogger("keep_plantings")
SMALL = (".tsv", ".json")
LARGE = {"logs", "probability"}


def small_tables(folder: Path) -> Iterator[Path]:
    """Yield the tables of a study's `label-audit` folder, without those of unfinished trainings."""
    for path in sorted(folder.rglob("*")):
        cell = path.parent
        unfinished = (cell / IDENTITY).exists() and not (cell / "subjects.tsv").exists()
        large = LARGE & set(path.relative_to(folder).parts)
        if path.suffix in SMALL and not unfinished and not large:
            yield path


def copy_tables(source: Path, target: Path) -> int:
    """Copy the tables of `source` to `target`; return how many there were.

    Raises:
        DataError: `source` has none, or something in `target` was made with other settings.
    """
    tables = list(small_tables(source))
    if not tables:
        raise DataError(f"{source} holds no finished planting.")
    for path in tables:
        place = target / path.relative_to(source)
        if place.exists() and path.name == "made_with.json":
            if place.read_bytes() != path.read_bytes():
                raise DataError(f"{place} was made with other settings than {path}.")
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return len(tables)


def main() -> None:
    """Keep or restore."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("keep", "restore"))
    parser.add_argument("folder", type=Path, help="where the tables are kept")
    own, study = read_arguments(parser)
    ends = (study.root / "label-audit", own.folder)
    source, target = ends if own.what == "keep" else ends[::-1]
    logger.info("%d tables of %s are in %s", copy_tables(source, target), source, target)


if __name__ == "__main__":
    main()

"""Keep what the studies of planted label errors have found so far, and take it up elsewhere.

    python benchmarks/keep_plantings.py keep FOLDER --config configs/label_audit.yaml
    python benchmarks/keep_plantings.py restore FOLDER --config configs/label_audit.yaml

`keep` copies the small tables of the study's `label-audit/` (lists, candidates, subjects, what each
was made with; no weights, maps or logs, nor cells whose weights a later step has still to read)
into a folder. `restore` puts them back beside a cohort that was prepared anew from the same
configuration: `label_audit.py` and `next_cases_study.py` then go on with the plantings that are
missing. Trainings that have not ended are left out. What is there already gives way to what is
copied, unless it was made with other settings.
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
        run, parts = path.parent, path.relative_to(folder).parts
        unfinished = (run / IDENTITY).exists() and not (run / "subjects.tsv").exists()
        large = LARGE & set(parts)
        if path.suffix in SMALL and not (unfinished or large or _needed(folder, parts)):
            yield path


def _needed(folder: Path, parts: tuple[str, ...]) -> bool:
    """Tell whether a cell's weights or maps, which are not kept, have still to be read.

    Cross-fitted detectors make a planting's list, and the detector of the given labels the lists of
    minutes: before those are there, their cells are to be trained again elsewhere.
    """
    if parts[0].startswith("planting-"):
        return len(parts) > 2 and not (folder / parts[0] / "ranking.tsv").exists()
    if parts[0] == "baseline" and len(parts) > 2:
        planting = parts[1].replace("seed-", "planting-")
        return not (folder / "next" / planting / "random.tsv").exists()
    return False


def copy_tables(source: Path, target: Path) -> int:
    """Copy the tables of `source` to `target`; return how many there were.

    Raises:
        DataError: `source` has none, or something in `target` was made with other settings.
    """
    tables = list(small_tables(source))
    if not tables:
        raise DataError(f"{source} holds no finished planting.")
    places = {path: target / path.relative_to(source) for path in tables}
    for path, place in places.items():
        made_with = path.name == "made_with.json" and place.exists()
        if made_with and place.read_bytes() != path.read_bytes():
            raise DataError(f"{place} was made with other settings than {path}; nothing is copied.")
    for path, place in places.items():
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

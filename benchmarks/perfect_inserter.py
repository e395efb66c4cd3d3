"""What would a perfect generator be worth? The phantoms' own lesion model inserts into controls.

    python benchmarks/perfect_inserter.py --config FILE --set perfect [--lesions own] [--stretches]

Writes a set of the study's `synthetic` as any generated one, for a regime to name: patients are the
baseline's training controls with a lesion, rendered and prepared anew, noise and all; controls are
the same heads as they are, or with `--stretches` with a benign stretch of cortex that looks like a
lesion. `--lesions own` gives them the looks of the baseline's training lesions at new places, of
other sizes and a fifth weaker or stronger at most: what a generator could learn. `fresh` draws
lesions as for any patient: what nobody could learn from so few. Stretches look like those of the
baseline's training subjects. As many as the study's largest dose of the set asks for. What is made
lies below `perfect/` in the study's folder; 2 s a subject on two cores.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from arguments import read_arguments
from lesionforge.data.cohort import subject_volumes, write_participants, write_subject
from lesionforge.data.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.errors import DataError
from lesionforge.phantoms.cohort import read_spec
from lesionforge.phantoms.parameters import DIFFICULTY
from lesionforge.phantoms.spec import LesionSpec, PhantomSpec, sample_lesion
from lesionforge.seeding import stream
from lesionforge.study import runs
from lesionforge.study.config import Study
from lesionforge.synthesis.run import PREFIX
from variants import prepare_variants

logger = logging.getLogger("perfect_inserter")
STRENGTH = (0.8, 1.2)
SIGNS = ("conspicuity", "thickening_mm", "blur_mm", "flair", "t1w", "white_flair", "white_t1w")


def move_look(look: LesionSpec, elsewhere: LesionSpec, strength: float) -> LesionSpec:
    """Return a lesion that does what `look` does, times `strength`, where `elsewhere` is."""
    return replace(
        elsewhere, subtype=look.subtype, **{k: strength * getattr(look, k) for k in SIGNS}
    )


def insert(
    host: PhantomSpec, rng: np.random.Generator, looks: Sequence[LesionSpec], group: str
) -> PhantomSpec:
    """Return a control with a lesion (`patient`) or one more benign stretch (`control`).

    Args:
        host: a control.
        rng: a named stream.
        looks: what it may look like; empty draws a lesion as for any patient.
        group: what the phantom becomes.
    """
    difficulty = DIFFICULTY[host.version]
    found = sample_lesion(rng, difficulty, difficulty.lesions)
    if looks:
        look = looks[int(rng.integers(len(looks)))]
        found = move_look(look, found, float(rng.uniform(*STRENGTH)))
    if group == "control":
        return replace(host, mimics=(*host.mimics, found))
    return replace(host, group="patient", lesion=found)


def write_set(study: Study, name: str, seed: int, fresh: bool, stretches: bool) -> Path:
    """Write the set of one seed; return its folder."""
    behind = runs.baseline_subjects(study, seed, None)
    specs = {s.id: read_spec(study.root / "truth", s.id) for s in behind}
    hosts = [specs[s.id] for s in behind if s.group == "control"]
    own = [spec.lesion for spec in specs.values() if spec.lesion]
    benign = [mimic for spec in specs.values() for mimic in spec.mimics]
    if stretches and not benign:
        raise DataError("No training subject has a benign stretch: leave out --stretches.")
    root, made = study.synthetic_root(name, seed, None), []
    sources = tuple(sorted(specs))
    counts = dict(zip(PREFIX, runs.synthetic_counts(study, name, seed, None), strict=True))
    for group, n in counts.items():
        for start in range(0, n, len(hosts)):
            rng = stream(seed, "perfect", name, group, start)
            turn = [hosts[i] for i in rng.permutation(len(hosts))[: n - start]]
            looks = benign if group == "control" else [] if fresh else own
            if group == "patient" or stretches:
                turn = [insert(host, rng, looks, group) for host in turn]
            folder = study.root / "perfect" / name / f"seed-{seed}" / f"{group}s-{start}"
            prepared = prepare_variants(study, turn, folder)
            for number, spec in enumerate(turn, start + 1):
                new = f"{PREFIX[group]}{number:04d}"
                made.append(Subject(new, group, spec.site, root, True, sources))
                copy_subject(prepared[spec.id], made[-1])
    write_participants(root, made)
    return root


def copy_subject(prepared: Subject, new: Subject) -> None:
    """Write a prepared phantom as a subject of a synthetic set."""
    lesion = read_lesion(prepared) if new.group == "patient" else None
    volumes = subject_volumes(
        read_images(prepared), read_brain(prepared), read_tissues(prepared), lesion
    )
    sidecar = {"Mode": "the phantoms' own lesion model", "Host": prepared.id}
    write_subject(new, volumes, read_grid(prepared), sidecar)


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", required=True, help="name of the set, one of the study's")
    parser.add_argument("--lesions", choices=("own", "fresh"), default="own", help="default: own")
    parser.add_argument("--stretches", action="store_true", help="benign stretches in controls")
    parser.add_argument("--cell-seed", type=int, default=0, help="default: 0")
    own, study = read_arguments(parser)
    fresh = own.lesions == "fresh"
    root = write_set(study, own.set, own.cell_seed, fresh, own.stretches)
    logger.info("%s: train the regime that names `%s`.", root, own.set)


if __name__ == "__main__":
    main()

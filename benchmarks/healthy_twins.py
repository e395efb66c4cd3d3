"""How much of what a phantom's lesion truly does is told by its contrast, and made by a generator?

    python benchmarks/healthy_twins.py --config configs/phantom_study.yaml [--patients 16]
    python benchmarks/healthy_twins.py --config configs/phantom_study.yaml --generator 0

A healthy twin is the same phantom, noise and all, without its lesion; both are prepared, and the
difference of their images is the lesion's true effect, which nobody with real patients can see.
Compared with it, within 10 mm of the mask: the effect of the contrast that are measured from the
patient's images alone, in the mask and in the mask and around it; and with `--generator SEED` what
the study's trained generator makes of mask and contrast, before and after it is brought to the contrast.
Subjects are training patients of the baseline that the generator has learnt from (`--of train`) or
those of the training pool that it has not (`--of pool`); no test subject. Writes twins/ with
effects.tsv into the study's folder. 5 s a patient, and 2 s with a generator.
"""

import argparse
import logging
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from arguments import read_arguments
from lesionforge.data.subject import Subject, read_images
from lesionforge.lesions.appearance import ROBUST_SD, measure_conspicuity
from lesionforge.lesions.blending import smooth_within
from lesionforge.lesions.contrast import INSIDE, NO_CONTRAST, contrast_maps, mix_contrast
from lesionforge.phantoms.cohort import read_spec
from lesionforge.provenance import write_tsv
from lesionforge.study import runs
from lesionforge.study.config import Study
from lesionforge.synthesis.anatomy import Anatomy, read_anatomy
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.effect import fit_effect
from lesionforge.synthesis.spade.conditioning import conditioning_map
from lesionforge.synthesis.spade.data import Scan, read_scan
from lesionforge.synthesis.spade.tiling import apply_generator
from lesionforge.synthesis.spade.training import TrainedGenerator, encode_style, load_generator
from variants import prepare_variants

logger = logging.getLogger("healthy_twins")
NEAR_MM = 10.0


def prepare_twins(study: Study, patients: list[Subject]) -> dict[str, Subject]:
    """Write the healthy twins of phantoms and prepare them; return them by id."""
    specs = [read_spec(study.root / "truth", patient.id) for patient in patients]
    healthy = [replace(spec, group="control", lesion=None) for spec in specs]
    return prepare_variants(study, healthy, study.root / "twins")


def true_effect(patient: Anatomy, twin: Subject) -> np.ndarray:
    """Return (2, X, Y, Z): what the lesion does, less what scaling does to the whole brain."""
    effect = patient.images - read_images(twin)
    usual = np.median(effect[:, patient.brain], axis=1)
    return np.asarray(effect - usual[:, None, None, None])


def near_lesion(anatomy: Anatomy) -> np.ndarray:
    """Return (X, Y, Z) bool: the brain within 10 mm of the lesion's mask."""
    distance = ndimage.distance_transform_edt(~anatomy.lesion, sampling=anatomy.grid.voxel_mm)
    return np.asarray((distance <= NEAR_MM) & anatomy.brain)


def made_effects(
    trained: TrainedGenerator, scan: Scan, anatomy: Anatomy, near: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what a generator makes of a lesion, step by step as `insert` uses it; (2, N) near.

    It is what `insert` would add to the patient as if healthy, before it is feathered.
    """
    voxel_mm, lesion = anatomy.grid.voxel_mm, anatomy.lesion
    style = encode_style(trained.encoder, scan, trained.config.patch)
    ill, healthy = (
        apply_generator(
            trained.network,
            conditioning_map(anatomy.inpainted, mask, scan.contrast, voxel_mm),
            style,
            noise_seed=0,
        )
        for mask in (lesion, np.zeros_like(lesion))
    )
    config = SynthesisConfig()
    made = ill - healthy
    smooth = smooth_within(made, anatomy.brain, config.smooth_voxels)
    seen = measure_conspicuity(anatomy.images, lesion, anatomy.inpainted, anatomy.brain, voxel_mm)
    brought, _ = fit_effect(
        smooth, lesion, anatomy.inpainted, voxel_mm, scan.contrast, seen.total, config.max_gain
    )
    steps = {"made": made, "made and smoothed": smooth, "smoothed and brought to contrast": brought}
    return {name: effect[:, near] for name, effect in steps.items()}


def explained(true: np.ndarray, other: np.ndarray) -> float:
    """Return the share of an effect (2, N) that another one explains; below 0 it does harm."""
    return float(1 - ((true - other) ** 2).sum() / (true**2).sum())


def compare(subject: Subject, twin: Subject, trained: TrainedGenerator | None) -> dict[str, object]:
    """Return how much of a patient's true effect its contrast, and a generator, explain."""
    anatomy, scan = read_anatomy(subject), read_scan(subject)
    near = near_lesion(anatomy)
    effect = true_effect(anatomy, twin)
    maps = contrast_maps(anatomy.lesion, anatomy.inpainted, anatomy.grid.voxel_mm)
    inside = (*scan.contrast[:INSIDE], *NO_CONTRAST[INSIDE:])
    told = {
        "contrast inside": ROBUST_SD * mix_contrast(inside, maps)[:, near],
        "contrast inside and around": ROBUST_SD * mix_contrast(scan.contrast, maps)[:, near],
    }
    made = {} if trained is None else made_effects(trained, scan, anatomy, near)
    beyond = (effect[:, near & ~anatomy.lesion] ** 2).sum() / (effect[:, near] ** 2).sum()
    return {
        "participant_id": subject.id,
        "site": subject.site,
        "outside the mask": float(beyond),
        **{name: explained(effect[:, near], other) for name, other in (told | made).items()},
    }


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=16, help="at most (default: 16)")
    parser.add_argument("--of", choices=("train", "pool"), default="pool", help="default: pool")
    parser.add_argument("--cell-seed", type=int, default=0, help="whose training patients")
    parser.add_argument("--generator", type=int, metavar="SEED", help="also try this generator")
    own, study = read_arguments(parser)
    behind = runs.baseline_subjects(study, own.cell_seed, None)
    fresh = runs.fresh_subjects(study, behind, ("train",), None)
    patients = [s for s in (behind if own.of == "train" else fresh) if s.group == "patient"]
    patients = patients[: own.patients]
    twins = prepare_twins(study, patients)
    trained = None
    if own.generator is not None:
        trained = load_generator(study.generator_root(own.generator, None))
    table = pd.DataFrame(
        [compare(p, twins[p.id], trained) for p in tqdm(patients, desc="compare", unit="patient")]
    )
    write_tsv(study.root / "twins" / "effects.tsv", table)
    shares = table.drop(columns=["participant_id", "site"])
    logger.info("%s", pd.DataFrame({"mean": shares.mean(), "median": shares.median()}).round(3))


if __name__ == "__main__":
    main()

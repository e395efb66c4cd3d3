"""Are generated lesion masks like fresh real ones in size, shape, depth and place?

    python benchmarks/mask_shapes.py --masks 500 --against test --config configs/phantom_study.yaml

The prior is fitted on the baseline's training patients of a seed, masks are drawn on its controls
by the default plan, and each descriptor's distribution is compared with that of real patients who
do not stand behind them (Kolmogorov-Smirnov distance), as in `lesionforge audit-synthetic`, but
without a generator or images. `--against test` is for a last report: a prior that was chosen by
test subjects has made them training subjects. Writes `mask_shapes_seed-N.tsv` into the study's
folder. About 3 minutes for 500 masks against 300 patients.
"""

import argparse
import logging

import pandas as pd
from scipy.stats import ks_2samp
from tqdm import tqdm

from lesionforge import arms
from lesionforge.cohort import splits
from lesionforge.cohort.subject import Subject
from lesionforge.fidelity.shapes import WORDS, draw_shapes, mask_findings, values
from lesionforge.generator.wishes import draw_wishes
from lesionforge.masks.descriptors import describe_mask
from lesionforge.masks.prior import fit_prior, own_lesion
from lesionforge.provenance import write_tsv
from planting import read_arguments

logger = logging.getLogger("mask_shapes")


def real_shapes(patients: list[Subject], what: str) -> list[dict[str, float]]:
    """Describe the lesions of real patients."""
    rows = []
    for subject in tqdm(patients, desc=what, disable=None):
        host, mask = own_lesion(subject)
        if mask.any():
            rows.append(describe_mask(mask, host))
    return rows


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=500, help="to draw (default: 500)")
    parser.add_argument("--against", default="train,validation", help="roles of the fresh patients")
    parser.add_argument("--cell-seed", type=int, default=0, help="whose training patients")
    own, study = read_arguments(parser)
    behind = arms.baseline_subjects(study, own.cell_seed, None)
    table = arms.read_splits(study, None)
    roles = {i for role in own.against.split(",") for i in splits.members(table, role)}
    roles -= {s.id for s in behind}
    fresh = [s for s in arms.real_subjects(study) if s.group == "patient" and s.id in roles]
    prior = fit_prior(behind, study.masks)
    hosts = [s for s in behind if s.group == "control"] or behind
    wishes = draw_wishes(prior, own.masks, own.cell_seed)
    made = draw_shapes(prior, hosts, wishes, own.cell_seed)
    real = real_shapes(fresh, "fresh patients")
    trained = real_shapes([s for s in behind if s.group == "patient"], "training patients")
    findings = mask_findings(made, made, real, trained)
    rows = []
    for name, finding in zip(WORDS, findings, strict=False):
        test = ks_2samp(values(made, name), values(real, name))
        rows.append({
            "descriptor": name, "masks": len(made), "fresh": len(real), "trained": len(trained),
            "ks": finding.value, "p": test.pvalue, "ks_of_training_lesions": finding.real,
            "median": float(pd.Series(values(made, name)).median()),
            "median_fresh": float(pd.Series(values(real, name)).median()),
        })  # fmt: skip
    result = pd.DataFrame(rows)
    write_tsv(study.root / f"mask_shapes_seed-{own.cell_seed}.tsv", result)
    logger.info("%s", result.round(3).to_string(index=False))
    logger.info("%d of %d masks had room; %s", len(made), own.masks, findings[-1].sentence)


if __name__ == "__main__":
    main()

"""Are generated lesion masks like fresh real ones in size, shape, depth and place?

    python benchmarks/mask_shapes.py --masks 500 --against test --config configs/phantom.yaml

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
from tqdm import tqdm

from lesionforge.arguments import command_parser, parse, read_study
from lesionforge.data.subject import Subject
from lesionforge.lesions.prior import fit_prior, read_healthy
from lesionforge.lesions.shape import describe_mask, largest_component
from lesionforge.provenance import write_tsv
from lesionforge.study import runs
from lesionforge.synthesis.plan import sample_requests
from lesionforge.synthetic_qc.config import SyntheticAuditConfig
from lesionforge.synthetic_qc.mask_distribution import mask_findings, sample_shapes

logger = logging.getLogger("mask_shapes")


def real_shapes(people: list[Subject], what: str) -> list[dict[str, float]]:
    """Describe the lesions of the patients among real subjects."""
    rows = []
    for subject in tqdm([s for s in people if s.group == "patient"], desc=what, disable=None):
        host, mask = read_healthy(subject)
        if mask.any():
            rows.append(describe_mask(largest_component(mask), host))
    return rows


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=500, help="to draw (default: 500)")
    parser.add_argument("--against", default="train,validation", help="roles of the fresh patients")
    parser.add_argument("--seed", type=int, default=0, help="whose training patients")
    own, rest = parser.parse_known_args()  # the rest is the study's: `--config` and its values
    study = read_study(parse(command_parser("train-generator"), rest))
    config = SyntheticAuditConfig(against=tuple(own.against.split(",")))
    behind = runs.baseline_subjects(study, own.seed, None)
    fresh = runs.fresh_subjects(study, behind, config.against, None)
    prior = fit_prior(behind, study.masks)
    requests = sample_requests(prior, own.masks, own.seed)
    made = sample_shapes(prior, behind, requests, own.seed)
    real = real_shapes(fresh, "fresh patients")
    trained = real_shapes(behind, "training patients")
    findings = mask_findings(made, made, real, trained)
    rows = [finding.to_json() for finding in findings]
    table = pd.DataFrame(rows)[["name", "value", "real", "limit", "met", "sentence", "why"]]
    path = study.root / f"mask_shapes_seed-{own.seed}.tsv"
    write_tsv(path, table)
    logger.info("%s", table[["name", "value", "real", "met"]].round(3).to_string(index=False))
    logger.info(
        "%d of %d masks had room, %d fresh and %d training lesions. Table: %s",
        len(made), own.masks, len(real), len(trained), path,
    )  # fmt: skip


if __name__ == "__main__":
    main()

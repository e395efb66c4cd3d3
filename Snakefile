"""A study as a graph of the scripts; (regime, seed) are its independent cells.

    snakemake --cores 2 --configfile configs/phantom.yaml

Snakemake's SLURM and Kubernetes executors run the same graph on a cluster. The study's own
defaults live in the package: values that this file needs and the study does not state are the
phantom study's. With cross-fitting (folds) use the scripts.
"""

from pathlib import Path

CONFIG = workflow.configfiles[0]
PYTHON = config.get("python", ".venv/bin/python")
NAME = config.get("name", "phantom")
ROOT = f"{config.get('runs', 'runs')}/{NAME}"
SEEDS = config.get("seeds", [0])
REGIMES = config.get("regimes") or {
    "baseline": {}, "augmented": {"synthetic": "spade"}, "expanded": {}
}

COHORT = config.get("cohort", {})
EXCLUDED = COHORT.get("prepare", {}).get("exclude", [])
SUBJECTS = sorted(  # of a real cohort: one job each; phantoms are made together
    path.name
    for path in (Path(COHORT["bids"]).glob("sub-*") if COHORT.get("bids") else ())
    if path.name not in EXCLUDED
)


def synthetic_set(wildcards):
    name = REGIMES[wildcards.regime].get("synthetic")
    return f"{ROOT}/synthetic/{name}/seed-{wildcards.seed}/participants.tsv" if name else []


rule report:
    input:
        expand(f"{ROOT}/detector/{{regime}}/seed-{{seed}}/subjects.tsv", regime=REGIMES, seed=SEEDS),
    output:
        f"{ROOT}/report/index.html",
    shell:
        "{PYTHON} scripts/compare_regimes.py --config {CONFIG}"


rule subject:
    output:
        f"{ROOT}/cohort/{{subject}}/{{subject}}_desc-preparation_log.json",
    shell:
        "{PYTHON} scripts/prepare_cohort.py --config {CONFIG} --subject {wildcards.subject}"


rule prepare:
    input:
        [f"{ROOT}/cohort/{name}/{name}_desc-preparation_log.json" for name in SUBJECTS],
    output:
        f"{ROOT}/cohort/splits.tsv",
    shell:
        "{PYTHON} scripts/prepare_cohort.py --config {CONFIG}"


rule generator:
    input:
        f"{ROOT}/cohort/splits.tsv",
    output:
        f"{ROOT}/generator/spade/seed-{{seed}}/generator.safetensors",
    threads: 2
    shell:
        "{PYTHON} scripts/train_generator.py --config {CONFIG} --seed {wildcards.seed}"


rule synthetic:
    input:
        f"{ROOT}/generator/spade/seed-{{seed}}/generator.safetensors",
    output:
        f"{ROOT}/synthetic/{{set}}/seed-{{seed}}/participants.tsv",
    shell:
        "{PYTHON} scripts/synthesize.py --config {CONFIG} --set {wildcards.set} --seed {wildcards.seed}"


rule detector:
    input:
        f"{ROOT}/cohort/splits.tsv",
        synthetic_set,
    output:
        f"{ROOT}/detector/{{regime}}/seed-{{seed}}/subjects.tsv",
    threads: 2
    shell:
        "{PYTHON} scripts/train_detector.py --config {CONFIG}"
        " --regime {wildcards.regime} --seed {wildcards.seed}"

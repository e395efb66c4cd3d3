"""The configurations: each is a study, and `configs/bids.yaml` explains every key there is.

`python tests/test_configs.py` writes `configs/bids.yaml` anew from the docstrings beside the code.
"""

import dataclasses
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from docstring_parser import parse

from lesionforge import arguments
from lesionforge.data.splits import assign_splits
from lesionforge.study.config import Study
from lesionforge.study.regimes import Regime

CONFIGS = Path(__file__).parents[1] / "configs"
HEADER = """\
# Any real cohort: a BIDS-like folder of T1w, FLAIR and lesion masks (see data/README.md).
#
#   python scripts/prepare_cohort.py --config my.yaml
#   python scripts/train_generator.py --config my.yaml        ... and on, as for phantoms
#
# Every key there is, with what it means. Copy this file to my.yaml, change `name`, `cohort.bids`,
# `splits` and `regimes`. A line that you delete falls back to the default, which is the demo's, so
# keep those that differ from it here: the sizes under splits and regimes, longer trainings (for a
# GPU) and a larger network with fewer, larger patches (generator.steps, all of detector). On
# phantoms many small patches (the default) learnt more in the same time; the two have not been
# compared on real heads.

"""


def bids_study() -> Study:
    default = Study()
    few, many = {"patients": 20, "controls": 20}, {"patients": 40, "controls": 40}
    return replace(
        default,
        name="bids",
        cohort=replace(default.cohort, bids="data/bids"),
        splits=replace(
            default.splits,
            validation_patients=10,
            validation_controls=10,
            test_patients=30,
            test_controls=30,
        ),
        generator=replace(default.generator, steps=5000),
        detector=replace(
            default.detector,
            steps=10000,
            filters=(16, 32, 64, 128),
            batch_size=2,
            patch=48,
            foreground_share=0.5,
        ),
        regimes={
            "baseline": Regime(**few),
            "augmented": Regime(**few, synthetic="spade", ratio=1.0),
            "expanded": Regime(**many),
        },
    )


def commented(value: Any, indent: int = 0, explained: frozenset[type] = frozenset()) -> Iterator:
    """Yield YAML lines of a dataclass, each key under its explanation (at a type's first use)."""
    about = {p.arg_name: " ".join(p.description.split()) for p in parse(type(value).__doc__).params}
    pad = "  " * indent
    for field in dataclasses.fields(value):
        if type(value) not in explained:
            yield from (
                f"{pad}# {line}" for line in textwrap.wrap(about[field.name], 97 - 2 * indent)
            )
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            yield f"{pad}{field.name}:"
            yield from commented(inner, indent + 1)
        elif isinstance(inner, dict) and any(map(dataclasses.is_dataclass, inner.values())):
            yield f"{pad}{field.name}:"
            seen: frozenset[type] = frozenset()
            for name, entry in inner.items():
                yield f"{pad}  {name}:"
                yield from commented(entry, indent + 2, seen)
                seen |= {type(entry)}
        else:
            plain = list(inner) if isinstance(inner, tuple) else inner
            style = None if isinstance(plain, list | dict) else False
            text = yaml.safe_dump({field.name: plain}, default_flow_style=style, width=1000)
            yield pad + text.strip()


def reference() -> str:
    return HEADER + "\n".join(commented(bids_study())) + "\n"


def read_study(*argv: str) -> Study:
    return arguments.read_study(arguments.parse(arguments.command_parser("prepare"), list(argv)))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_is_a_study_named_like_its_file(path):
    assert read_study("--config", str(path)).name == path.stem


def test_without_arguments_the_phantom_study_is_meant():
    assert read_study() == Study()
    assert read_study("--config", str(CONFIGS / "phantom.yaml")) == Study()


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4.0), ("[0.9, 0.9, 6.5]", (0.9, 0.9, 6.5)), ("auto", "auto")],
)
def test_a_voxel_size_is_one_number_three_or_auto(text, value):
    assert read_study("--cohort.prepare.voxel_mm", text).cohort.prepare.voxel_mm == value


def test_overrides_are_typed_and_win_over_the_file():
    config = ["--config", str(CONFIGS / "lgg.yaml")]
    study = read_study(*config, "--detector.steps", "7", "--seeds", "[4]")
    assert (study.detector.steps, study.seeds) == (7, (4,))


def test_the_commented_configuration_states_every_key_as_the_code_does():
    assert (CONFIGS / "bids.yaml").read_text() == reference()
    assert read_study("--config", str(CONFIGS / "bids.yaml")) == bids_study()


def bonn() -> pd.DataFrame:
    """The published groups, split and protocols of OpenNeuro ds004199; lesion sizes are made up."""
    rows = [("patient", "iso08", "T2sel")] * 41 + [("patient", "sag111", "tse3dvfl")] * 36
    rows += [("patient", "sag111", f"once{i}") for i in range(8)]
    rows += [("control", "iso08", "T2sel")] * 78 + [("control", "sag111", "T2sel")] * 7
    people = pd.DataFrame(rows, columns=["group", "acq_t1w", "acq_flair"])
    ill = people["group"] == "patient"
    return people.assign(
        participant_id=[f"sub-{i:05d}" for i in range(len(people))],
        site=people["acq_t1w"].map({"iso08": "TrioTim", "sag111": "Trio"}),
        lesion_ml=np.where(ill, np.geomspace(0.1, 30, len(people)), 0),
        split=np.where(ill & (people.index % 3 == 0) & (people.index < 84), "test", "train"),
    )


@pytest.mark.parametrize(
    ("options", "patients", "controls"),
    [
        ([], (49, 8, 28, 0), (49, 8, 28, 0)),
        (["published=true"], (49, 8, 28, 0), (77, 8, 0, 0)),
        (
            ["matched=true", "test_patients=14", "validation_patients=5"],
            (22, 5, 14, 44),
            (42, 8, 28, 7),
        ),
    ],
)
def test_the_bonn_splits_have_the_counts_that_the_data_page_states(options, patients, controls):
    argv = ["--config", str(CONFIGS / "bonn.yaml"), *(f"--splits.{o}" for o in options)]
    table = assign_splits(bonn(), read_study(*argv).splits, [0])
    counts = table.groupby(["group", "role"]).size()
    for group, expected in (("patient", patients), ("control", controls)):
        found = [counts.get((group, r), 0) for r in ("train", "validation", "test", "unused")]
        assert tuple(found) == expected


if __name__ == "__main__":
    (CONFIGS / "bids.yaml").write_text(reference())

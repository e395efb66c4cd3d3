"""The command line of a benchmark on a study: its own options, and the study's."""

import argparse

from lesionforge.cli import read_study, stage_parser
from lesionforge.study.config import Study


def read_arguments(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Study]:
    """Read a benchmark's own options, and the study from all others (`--config` and its values)."""
    own, rest = parser.parse_known_args()
    stage = stage_parser("train-generator")
    return own, read_study(stage.instantiate(stage.parse_args(rest)))

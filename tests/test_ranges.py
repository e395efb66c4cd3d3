import math
from dataclasses import fields, is_dataclass, replace

import pytest

from lesionforge.errors import ConfigError
from lesionforge.label_qc.config import Acceptance, CorruptConfig, LabelAuditConfig, NextConfig
from lesionforge.study.config import Study
from lesionforge.synthetic_qc.config import SyntheticAuditConfig

COMMANDS_CONFIGS = (Acceptance, CorruptConfig, LabelAuditConfig, NextConfig, SyntheticAuditConfig)


def numbers(config):
    """Yield each configuration within `config` with the name of each of its decimal numbers."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from numbers(value)
        elif isinstance(value, dict):
            for inner in value.values():
                if is_dataclass(inner):
                    yield from numbers(inner)
            if value and all(isinstance(inner, float) for inner in value.values()):
                yield config, field.name, dict.fromkeys(value, math.nan)
        elif isinstance(value, float):
            yield config, field.name, math.nan
            yield config, field.name, math.inf
        elif isinstance(value, tuple) and value and isinstance(value[-1], float):
            yield config, field.name, (*value[:-1], math.nan)


@pytest.mark.parametrize("config", [Study, *COMMANDS_CONFIGS], ids=lambda c: c.__name__)
def test_no_configuration_takes_a_number_that_is_none(config):
    found = list(numbers(config()))
    assert found
    for owner, name, value in found:
        with pytest.raises(ConfigError, match=name):
            replace(owner, **{name: value})

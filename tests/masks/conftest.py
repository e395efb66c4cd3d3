"""Hosts shared by the mask tests."""

import pytest
from template_hosts import template_host

from lesionforge.masks.host import Host


@pytest.fixture(scope="session")
def hosts() -> list[Host]:
    """Three hosts at 2.5 mm."""
    return [template_host(seed, 2.5) for seed in range(3)]

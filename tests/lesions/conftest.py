"""Hosts shared by the mask tests."""

import pytest

from lesionforge.lesions.host import Host
from tests.lesions.template_hosts import template_host


@pytest.fixture(scope="session")
def hosts() -> list[Host]:
    """Three hosts at 2.5 mm."""
    return [template_host(seed, 2.5) for seed in range(3)]

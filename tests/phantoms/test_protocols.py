import pytest

from lesionforge.phantoms.protocols import CHANNELS, SITES


def test_every_site_has_every_channel_and_shares_sum_to_1():
    assert sum(site.share for site in SITES.values()) == pytest.approx(1)
    for site in SITES.values():
        assert set(site.protocols) == set(CHANNELS)
        assert site.field in (1.5, 3.0)


def test_one_site_scans_in_thick_slices():
    thick = {
        name
        for name, site in SITES.items()
        for protocol in site.protocols.values()
        if protocol.voxel_mm[2] >= 4 * protocol.voxel_mm[0]
    }
    assert thick == {"C"}

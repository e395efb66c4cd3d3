"""The reading page in a real browser: it shows the volumes, takes answers, and saves a file."""

import base64
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from lesionforge.data.subject import read_brain, read_images
from lesionforge.report.pages.reading import encode_volume, write_reading_page
from lesionforge.synthetic_qc.reader_study import read_reading, sample_cases
from tests.report.browser import visit
from tests.synthetic_qc.test_reader_study import made_of

COMMITMENT = "ab" * 32
READER = Path(__file__).with_name("reader.js")


def decode(encoded):
    data = gzip.decompress(base64.b64decode(encoded["data"]))
    return np.frombuffer(data, np.uint8).reshape(encoded["shape"])


@pytest.fixture(scope="module")
def kit(toy_cohort):
    made = [made_of(s, "sub-p01", "sub-p02") for s in toy_cohort[:3]]
    cases = sample_cases(toy_cohort[:6], made, n=2, seed=0)
    volumes = {s.id: s for s in toy_cohort} | {
        m.id: next(s for s in toy_cohort if s.id == m.id.replace("-syn", "-p")) for m in made
    }
    return cases, volumes


def test_the_page_stands_alone_and_keeps_the_secret(kit, tmp_path):
    page = write_reading_page(tmp_path / "reading.html", *kit, COMMITMENT).read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "sub-" not in page
    assert COMMITMENT in page
    assert page.count('"data"') == 8


def test_volumes_are_encoded_as_they_are(toy_cohort):
    subject = toy_cohort[0]
    encoded = encode_volume(subject, "FLAIR")
    volume = decode(encoded).astype(float) / 255
    brain = read_brain(subject)
    assert volume.sum() == pytest.approx(read_images(subject)[1][brain].sum(), rel=2e-3)


def test_a_reader_in_a_real_browser(kit, tmp_path):
    cases, volumes = kit
    path = write_reading_page(tmp_path / "reading.html", cases, volumes, COMMITMENT)
    found = json.loads(visit(path, READER, tmp_path / "browser"))
    assert found["errors"] == []

    first = encode_volume(volumes[cases[0].subject], cases[0].contrast)
    x, y, z = first["shape"]
    sizes = {"axial": [x, y], "coronal": [x, z], "sagittal": [y, z]}
    assert {name: picture["size"] for name, picture in found["pictures"].items()} == sizes
    data = np.frombuffer(gzip.decompress(base64.b64decode(first["data"])), np.uint8).reshape(
        x, y, z
    )
    wanted = {
        "axial": data[:, :, z // 2].T[::-1, ::-1],
        "coronal": data[:, y // 2, :].T[::-1, ::-1],
        "sagittal": data[x // 2].T[::-1, ::-1],
    }
    for name, picture in found["pictures"].items():
        shown = np.array(picture["grey"]).reshape(wanted[name].shape)
        assert np.abs(shown - wanted[name].astype(int)).max() <= 1
    up = np.array(found["scrolled"]).reshape(y, x)
    assert np.abs(up - data[:, :, z // 2 + 1].T[::-1, ::-1].astype(int)).max() <= 1
    assert np.ptp(found["windowed"]) == 255
    assert found["windowed"] != found["scrolled"]

    assert "name" in found["nameless"]
    assert "not finished: 5 open" in found["early"]
    assert found["kept"] == "case 6"
    assert found["said"] == "Saved. Thank you."
    saved = tmp_path / "reading-Dr-A.json"
    saved.write_text(json.dumps(found["saved"]))
    reading = read_reading(saved, cases, COMMITMENT)
    assert reading.reader == "Dr. A"
    assert [reading.answers[c.name] for c in cases] == ["synthetic", "real"] * 4
    assert [reading.confidence[c.name] for c in cases] == [k % 5 + 1 for k in range(8)]
    assert reading.comments[cases[2].name] == "case 2"

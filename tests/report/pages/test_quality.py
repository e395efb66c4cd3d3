"""The quality page puts first what must be looked at, and draws what is there."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionforge.data.cohort import read_cohort
from lesionforge.data.subject import Subject
from lesionforge.preprocessing.quality import columns as quality_columns
from lesionforge.provenance import write_json, write_tsv
from lesionforge.report.pages.quality import plot_strip, write_quality_page
from lesionforge.report.strips import COLOURS
from tests.conftest import CHANNELS


@pytest.fixture
def cohort(toy_cohort: list[Subject], tmp_path: Path) -> Path:
    (tmp_path / "cohort").mkdir()
    for path in toy_cohort[0].root.iterdir():
        (tmp_path / "cohort" / path.name).symlink_to(path)
    rng = np.random.default_rng(0)
    spread = 1 + 0.01 * np.linspace(-1, 1, len(toy_cohort))
    table = pd.DataFrame({c: rng.permutation(spread) for c in quality_columns(CHANNELS)})
    table["wm_ml"] = 2 - table["gm_ml"]
    table.insert(0, "participant_id", [s.id for s in toy_cohort])
    table["notes"] = "n/a"
    table.loc[4, "mni_dice"] = 0.5
    table.loc[2, "noise_flair"] = 1.6
    table.loc[7, "notes"] = "<b>odd</b>"
    write_tsv(tmp_path / "cohort" / "quality.tsv", table)
    fates = ["kept", "merged", "too small"]
    rows = [("sub-p02", n, 8.0, 3.0, 4.0, 5.0, fate) for n, fate in enumerate(fates, 1)]
    names = ["participant_id", "lesion", "raw_mm3", "x_mm", "y_mm", "z_mm", "fate"]
    write_tsv(tmp_path / "cohort" / "lesions.tsv", pd.DataFrame(rows, columns=names))
    problems = [("sub-99", "a_T1w.nii.gz", "is constant", "Copy it again.", 1)]
    columns = ["participant_id", "file", "what", "remedy", "fatal"]
    write_tsv(tmp_path / "cohort" / "problems.tsv", pd.DataFrame(problems, columns=columns))
    return tmp_path / "cohort"


def test_the_worst_comes_first_and_everyone_is_there(cohort: Path) -> None:
    page = write_quality_page(cohort).read_text()
    ids = re.findall(r'<article class="subject" id="([^"]+)"', page)
    known = [s.id for s in read_cohort(cohort)]
    assert ids[:3] == [known[4], known[2], known[7]]
    assert sorted(ids) == sorted(known)
    assert page.count("data:image/jpeg;base64,") == len(known)
    assert "registration to MNI is doubtful (mni_dice 0.5" in page
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "is constant" in page
    assert "2 lesions changed by the study grid" in page
    assert "lesion 3 at 3, 4, 5 mm (MNI), 8 mm3: too small" in page
    assert "lesion 1 at" not in page
    assert "1 could not be prepared" in page
    assert 'class="banner' not in page
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing is fetched


def test_only_the_worst_are_drawn_in_a_large_cohort(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lesionforge.report.pages.quality.MAX_PICTURES", 3)
    page = write_quality_page(cohort).read_text()
    articles = page.split("<article")[1:]
    assert ["data:image" in article for article in articles] == [True] * 3 + [False] * 7
    assert page.count("pictures are made of the worst 3 subjects") == 7


def test_confounding_is_said(cohort: Path) -> None:
    said = {"is_high": True, "text": "The scanner tells."}
    write_json(cohort / "confounding.json", said)
    assert '<p class="banner warning" role="note">The scanner tells.' in (
        write_quality_page(cohort).read_text()
    )


def test_outlines_lie_where_the_masks_end(toy_cohort: list[Subject]) -> None:
    patient, control = toy_cohort[0], toy_cohort[-1]
    counts = {}
    for subject in (patient, control):
        data = base64.b64decode(plot_strip(subject).split(",")[1])
        picture = np.asarray(Image.open(io.BytesIO(data))).astype(int)
        assert picture.shape[0] == 240
        counts[subject.id] = {
            name: int((np.abs(picture - colour).sum(-1) < 60).sum())
            for name, colour in COLOURS.items()
            if name != "prediction"
        }
    assert min(counts[patient.id].values()) > 20
    assert counts[control.id]["lesion"] == 0

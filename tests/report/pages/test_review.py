"""The inspection page: it shows what it should, and in a real browser it takes verdicts."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.subject import read_grid, read_lesion
from lesionforge.lesions.config import LesionConfig
from lesionforge.provenance import read_json, write_json
from lesionforge.report.pages.review import _plotted_lesion, plot_lesion, write_inspection_page
from lesionforge.report.strips import COLOURS
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.pipeline import synthesize
from lesionforge.synthetic_qc.visual_review import digest, read_inspections, record_inspection
from tests.report.browser import visit

CONFIG = SynthesisConfig(
    mode="paste", artifact_share=0.5, artifact_kinds=("spots",), min_effect_sd=0.0
)
INSPECTOR = Path(__file__).with_name("inspector.js")


@pytest.fixture(scope="module")
def made(toy_cohort, tmp_path_factory):
    """Three synthetic patients and two controls, one of them with a artifact; read-only."""
    root = tmp_path_factory.mktemp("made") / "set"
    synthesize(toy_cohort, root / "none", root, CONFIG, LesionConfig(), n=3, n_controls=2, seed=0)
    return root


@pytest.fixture
def root(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "set"))


def pictures(page):
    for text in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page):
        yield imread(io.BytesIO(base64.b64decode(text)), format="jpeg")


def outline(picture):
    """Where a JPEG has the colour of the label's outline."""
    return np.abs(picture.astype(int) - COLOURS["lesion"]).max(-1) < 60


def test_the_page_stands_alone_and_says_what_was_asked_and_made(root):
    path, asked = write_inspection_page(root, 1.0, 0, "paste, seed 0")
    page = path.read_text()
    assert (path, asked) == (root / "inspect.html", 5)
    assert "http" not in page.replace("http://www.w3.org", "")
    for subject in read_cohort(root):
        sidecar = read_json(sidecar_path(subject))
        item = page.split(f'id="{subject.id}"')[1].split("</article>")[0]
        assert sidecar["Host"] in item
        assert digest(subject) in page
        if subject.group == "patient":
            assert f"{sidecar['QualityChecks']['LesionVolumeML']:.2f} mL" in item
            assert f"{sidecar['QualityChecks']['Conspicuity']['total']:.1f} SD" in item
        assert ("small spots in white matter" in item) == bool(sidecar["Spec"]["artifact"])
    assert page.count("artifact, on purpose") == 1


def test_lesions_are_outlined_below_and_nowhere_else(root):
    page = write_inspection_page(root, 1.0, 0, "paste, seed 0")[0].read_text()
    drawn = list(pictures(page))
    assert len(drawn) == 5
    for picture in drawn[:3]:
        seen = outline(picture)
        assert seen[len(seen) // 2 :].sum() > 30
        assert not seen[: len(seen) // 3].any()
    assert not any(outline(picture).any() for picture in drawn[3:])


def test_of_two_labelled_lesions_the_drawn_one_is_shown(root):
    subject = read_cohort(root)[0]
    grid, label = read_grid(subject), np.zeros(read_lesion(subject).shape, bool)
    label[8:14, 8:14, 8:14] = label[20:22, 20:22, 20:22] = True
    box = tuple(slice(0, n) for n in label.shape)
    seed = [float(v) for v in grid.world(np.array([21, 21, 21]))]
    small = _plotted_lesion(label, {"lesion": {"seed_mm": seed}}, box, grid)
    assert small.sum() == 8
    assert _plotted_lesion(label, {"lesion": None}, box, grid).sum() == 216
    assert plot_lesion(subject, {"lesion": None}).startswith("data:image/jpeg")


def test_a_share_is_drawn_and_earlier_verdicts_are_shown(root):
    path, asked = write_inspection_page(root, 0.1, 0, "paste, seed 0")
    first = re.findall(r'class="item" id="([^"]+)"', path.read_text())
    assert asked == len(first) == 2
    assert {name[:7] for name in first} == {"sub-syn", "sub-syc"}
    subjects = read_cohort(root)
    (one,) = [s for s in subjects if s.id == first[0]]
    row = {"participant_id": one.id, "sha256": digest(one), "verdict": "reject", "reason": "seam"}
    saved = root.parent / "saved.json"
    write_json(saved, {"schema": 1, "page": "inspection", "asked": [one.id], "verdicts": [row]})
    record_inspection(saved, subjects, "A. Reader")
    path, asked = write_inspection_page(root, 0.1, 0, "paste, seed 0")
    page = path.read_text()
    assert asked == 1
    assert re.findall(r'class="item" id="([^"]+)"', page) == first
    assert "rejected by A. Reader on" in page


def test_a_person_in_a_real_browser(root, tmp_path):
    path, _ = write_inspection_page(root, 1.0, 0, "paste, seed 0")
    found = json.loads(visit(path, INSPECTOR, tmp_path / "browser"))
    assert found["errors"] == []
    subjects = read_cohort(root)
    assert found["ids"] == [s.id for s in subjects]
    assert min(min(size) for size in found["pictures"]) > 100
    assert found["begun"] == "0 judged, 0 rejected, 5 open"
    assert "not finished: 5 open" in found["early"]
    assert "not finished: 1 open (sub-syn0001)" in found["reasonless"]
    assert found["marked"] == "item reject lacking"
    assert found["kept"] == {"verdict": "reject", "reason": "a seam <b>&amp; more</b>"}
    assert found["said"] == "Saved. Thank you."
    assert found["ended"] == "5 judged, 1 rejected, 0 open"
    assert found["download"] == "inspected-paste-seed-0.json"
    saved = tmp_path / found["download"]
    saved.write_text(json.dumps(found["saved"]))
    record_inspection(saved, subjects, "A. Reader")
    rows = read_inspections(root)
    assert [r.verdict for r in sorted(rows, key=lambda r: r.participant_id)] == (
        ["accept"] * 2 + ["reject"] + ["accept"] * 2
    )
    (bad,) = [r for r in rows if r.verdict == "reject"]
    assert bad == replace(
        bad, participant_id="sub-syn0001", by="A. Reader", reason="a seam <b>&amp; more</b>"
    )

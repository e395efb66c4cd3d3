import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lesionforge.data.cohort import expected_files, write_subject
from lesionforge.errors import ConfigError, DataError
from lesionforge.provenance import read_json, sha256, write_json
from lesionforge.synthesis.anatomy import read_anatomy
from lesionforge.synthesis.spade.conditioning import conditioning_map, map_channels
from lesionforge.synthesis.spade.config import GeneratorConfig
from lesionforge.synthesis.spade.module import GeneratorModule, reconstruct
from lesionforge.synthesis.spade.tiling import apply_generator
from lesionforge.synthesis.spade.training import RECORD, load_generator, train_generator
from lesionforge.training import identify
from tests.conftest import toy_volumes
from tests.contrasts import in_rows

TINY = GeneratorConfig(
    features=(6, 4, 4),
    hidden=4,
    style_dim=4,
    discriminator_width=4,
    steps=6,
    checkpoint_every=2,
    patch=16,
    precision="32-true",
    accelerator="cpu",
    log_every=1,
    panel_every=3,
)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """One thread, as the networks are tiny."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def subjects(toy_cohort):
    return [*toy_cohort[:2], toy_cohort[-1]]


@pytest.fixture(scope="module")
def trained(subjects, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generator") / "seed-3"
    state = torch.random.get_rng_state()
    train_generator(subjects, folder, TINY, 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    return folder


def test_everything_is_written_and_read_again(trained, subjects):
    state = torch.random.get_rng_state()
    generator = load_generator(trained)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert generator.config == TINY
    assert set(generator.styles) == {s.id for s in subjects}
    assert all(code.shape == (4,) for code in generator.styles.values())
    assert generator.sha256 == sha256(trained / "generator.safetensors")
    lineage = json.loads((trained / "lineage.json").read_text())
    assert lineage["real_subjects"] == sorted(s.id for s in subjects)
    semantic = np.zeros((map_channels(2), 16, 16, 16), dtype=np.float32)
    semantic[1] = 1
    made = apply_generator(generator.network, semantic, generator.styles[subjects[0].id], 0)
    assert np.isfinite(made).all()


def test_losses_and_panels_are_logged_at_their_step(trained):
    events = EventAccumulator(str(trained / "logs")).Reload()
    for name in ("adversarial", "discriminator", "feature", "reconstruction", "lesion", "style"):
        scalars = events.Scalars(f"loss/{name}")
        assert [s.step for s in scalars] == list(range(6))  # not 12: two optimizers, one step
        assert all(np.isfinite(s.value) for s in scalars)
    assert [image.step for image in events.Images("mask | real | synthetic")] == [3, 6]


def test_a_killed_training_ends_with_the_same_weights(trained, subjects, tmp_path, monkeypatch):
    step = GeneratorModule.training_step

    def fail(self, batch, index):
        if int(batch["step"]) == 3:
            raise RuntimeError("killed")
        step(self, batch, index)

    monkeypatch.setattr(GeneratorModule, "training_step", fail)
    with pytest.raises(RuntimeError, match="killed"):
        train_generator(subjects, tmp_path, TINY, 3)
    assert not (tmp_path / "generator.json").exists()
    seen = []
    monkeypatch.setattr(
        GeneratorModule,
        "training_step",
        lambda self, batch, i: (seen.append(int(batch["step"])), step(self, batch, i))[1],
    )
    train_generator(subjects, tmp_path, TINY, 3)
    assert seen == [2, 3, 4, 5]
    assert sha256(tmp_path / "generator.safetensors") == sha256(trained / "generator.safetensors")
    assert load_generator(tmp_path).styles.keys() == load_generator(trained).styles.keys()


def test_another_seed_gives_other_first_weights():
    first, same, other = (
        torch.cat([p.flatten() for p in GeneratorModule(TINY, 2, seed).parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_finished_training_is_left_alone(trained, subjects, monkeypatch):
    monkeypatch.setattr("lesionforge.synthesis.spade.training._fit", None)
    before = (trained / "generator.json").stat().st_mtime_ns
    train_generator(subjects, trained, TINY, 3)
    assert (trained / "generator.json").stat().st_mtime_ns == before


def test_a_folder_of_another_training_is_refused(trained, subjects):
    before = sha256(trained / "generator.safetensors")
    for other in (replace(TINY, hidden=8), replace(TINY, generator_learning_rate=0.1)):
        with pytest.raises(DataError, match="another configuration"):
            train_generator(subjects, trained, other, 3)
    with pytest.raises(DataError, match="another configuration"):
        train_generator(subjects[:2], trained, TINY, 3)
    assert sha256(trained / "generator.safetensors") == before


def test_the_identity_follows_every_volume_and_not_the_workers(subjects, monkeypatch):
    record = {"config": asdict(TINY), "seed": 3}
    known = identify(record, subjects)
    assert identify({"config": asdict(replace(TINY, workers=2)), "seed": 3}, subjects) == known
    assert identify({**record, "seed": 4}, subjects) != known
    for changed in expected_files(subjects[0]):
        monkeypatch.setattr(
            "lesionforge.training.sha256",
            lambda path, changed=changed: "other" if path == changed else sha256(path),
        )
        assert identify(record, subjects) != known


def test_damaged_weights_are_refused(trained, tmp_path):
    for name in ("generator.json", "generator.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    load_generator(tmp_path)
    weights = bytearray((trained / "generator.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "generator.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match="SHA-256"):
        load_generator(tmp_path)
    (tmp_path / "generator.safetensors").write_bytes(weights[:50])
    with pytest.raises(DataError, match="train it again"):
        load_generator(tmp_path)
    with pytest.raises(DataError, match="missing"):
        load_generator(tmp_path / "nowhere")


def test_a_generator_of_former_code_is_refused(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "old")
    record = read_json(tmp_path / "old" / RECORD)
    for change in ({"channels": ["T1w"]}, {"effect_logits": 0.0}):
        write_json(tmp_path / "old" / RECORD, {**record, **change})
        with pytest.raises(DataError, match="train it again"):
            load_generator(tmp_path / "old")


def test_training_needs_subjects(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        train_generator([], tmp_path, TINY, 0)


def test_hyperparameters_are_json_types():
    parameters = dict(GeneratorModule(TINY, 2, 1).hparams)
    assert json.loads(json.dumps(parameters))["config"]["steps"] == asdict(TINY)["steps"]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 5},
        {"patch": 20},
        {"lesion_share": 1.5},
        {"generator_learning_rate": 0.0},
        {"lesion_weight": -1.0},
        {"features": (8, 8)},
        {"ema_decay": 1.0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_named(change):
    with pytest.raises(ConfigError, match=f"`{next(iter(change))}` must be"):
        replace(TINY, **change)


def test_the_average_follows_the_weights():
    module = GeneratorModule(TINY, 2, 0)
    start = [p.clone() for p in module.average.parameters()]
    with torch.no_grad():
        for parameter in module.synthesizer.parameters():
            parameter.add_(1)
    module._update_average(0)
    for first, now in zip(start, module.average.parameters(), strict=True):
        assert torch.allclose(now, first + 0.9, atol=1e-5)
    module._update_average(100_000)
    for first, now in zip(start, module.average.parameters(), strict=True):
        assert torch.allclose(now, first + 0.9 + 0.1 * (1 - TINY.ema_decay), atol=1e-5)


def test_training_learns_the_contrast_and_the_lesion(subjects, tmp_path):
    """After some steps the toy's grey and white matter and its bright lesion are told apart."""
    config = replace(TINY, features=(8, 8, 8), hidden=8, steps=60, checkpoint_every=60,
                     generator_learning_rate=5e-3, ema_decay=0.9, panel_every=60)  # fmt: skip
    train_generator(subjects, tmp_path, config, 1)
    generator = load_generator(tmp_path)
    semantic = np.zeros((map_channels(2), 16, 16, 16), dtype=np.float32)
    semantic[1, :8], semantic[2, 8:] = 1, 1
    lesion = semantic.copy()
    lesion[3:, 3:6, 6:10, 6:10] = np.reshape((1.0, -1.0, 2.5), (3, 1, 1, 1))  # as the toy's lesions
    style = generator.styles[subjects[0].id]
    plain, ill = (apply_generator(generator.network, m, style, 0) for m in (semantic, lesion))
    t1w, flair = plain
    assert t1w[10:14].mean() - t1w[2:6].mean() > 0.05  # 0.15 in truth
    assert flair[2:6].mean() - flair[10:14].mean() > 0.03  # 0.1 in truth; 0.05 to 0.14 over seeds
    effect = (ill - plain)[1]
    assert effect[3:6, 6:10, 6:10].mean() > 0.05  # 0.08 to 0.19 over seeds
    assert np.abs(effect[12:]).max() < 0.01


def test_reconstruction_is_repeatable(subjects):
    module = GeneratorModule(TINY, 2, 0)
    batch = {
        "semantic": torch.ones(1, map_channels(2), 16, 16, 16),
        "style_images": torch.ones(1, 2, 16, 16, 16),
        "style_tissues": torch.ones(1, 3, 16, 16, 16),
    }
    first = reconstruct(module.average, batch, 0)
    assert torch.equal(first, reconstruct(module.average, batch, 0))
    assert not torch.equal(first, reconstruct(module.average, batch, 1))


def test_lesions_of_opposite_signs_are_learnt_apart(toy_cohort, toy_grid, tmp_path):
    """Half are bright, half are dark: one number of strength would teach their mean, nothing."""
    subjects = []
    for number, subject in enumerate(toy_cohort[:6]):
        volumes = toy_volumes(subject.id, True, toy_grid)
        blob = ndimage.gaussian_filter(volumes["label-lesion_mask"].astype(np.float32), 0.5)
        if number % 2:  # as dark as the others are bright
            volumes["FLAIR"] = np.clip(volumes["FLAIR"] - 0.6 * blob, 0, 1)
        subjects.append(replace(subject, root=tmp_path / "cohort"))
        write_subject(subjects[-1], volumes, toy_grid, {})
    config = replace(TINY, features=(12, 8, 8), hidden=8, steps=60, checkpoint_every=60)
    train_generator(subjects, tmp_path / "trained", config, 0)
    generator = load_generator(tmp_path / "trained")
    anatomy = read_anatomy(subjects[0])
    dark, none, bright = (
        apply_generator(
            generator.network,
            conditioning_map(
                2,
                anatomy.inpainted,
                anatomy.lesion.astype(int),
                [in_rows(*(-0.5, sign) * 4)],
                toy_grid.voxel_mm,
            ),
            generator.styles[subjects[0].id],
            0,
        )[1, anatomy.lesion].mean()
        for sign in (-2.0, 0.0, 2.0)
    )
    assert dark < none - 0.05
    assert bright > none + 0.05

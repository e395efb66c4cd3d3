"""A prepared cohort as a BIDS derivative on disk: its tables, its subjects, its description."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionforge import __version__
from lesionforge.data.subject import TISSUES, UNLABELLED, Subject
from lesionforge.data.volume import Grid, write_volume
from lesionforge.errors import DataError
from lesionforge.provenance import atomic, read_json, read_tsv, sha256, write_json, write_tsv

BIDS_VERSION = "1.10.0"
SPATIAL_REFERENCE = "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/"
OWN_FILES = (
    "quality.tsv",
    "lesions.tsv",
    "splits.tsv",
    "problems.tsv",
    "qc.html",
    "confounding.json",
    "plan.tsv",
    "rejected.tsv",
    "inspect.html",
    "inspected.tsv",
    "prior.json",
    "audit.json",
    "audit.html",
    "nearest.tsv",
    "labels",
    "**/*_desc-preparation_log.json",
)
"""What LesionForge keeps beside the BIDS files, listed in `.bidsignore`."""
COLUMNS: dict[str, dict[str, Any]] = {
    "group": {
        "Description": "Whether the subject has a lesion mask",
        "Levels": {"patient": "has a lesion mask", "control": "has none"},
    },
    "site": {"Description": "Scanner or hospital, n/a where unknown"},
    "synthetic": {"Description": "1 if LesionForge made the subject, 0 if it is real"},
    "sources": {"Description": "Ids of all real subjects behind the subject, separated by commas"},
    "split": {"Description": "Part of a published split (train, test), n/a where there is none"},
    "lesion_ml": {"Description": "Volume of the lesion mask on the study grid", "Units": "mL"},
    "participant": {"Description": "Who was scanned; several scans may be of one person"},
    "dataset": {"Description": "Data set that the scan comes from"},
    "host": {"Description": "Id of the real subject whose anatomy a synthetic subject has"},
}
UNLABELLED_LEVEL = "is a patient, and has no lesion mask yet"
"""Of `group`, said only where there is such a subject."""
README = """{name}, made by LesionForge {version}. Research use only.

{channels} are skull-stripped and lie on one grid in MNI space (MNI152NLin2009aSym).
Intensities are scaled: 0 is background, the brain's median is 0.5, and 0.1 is one robust standard
deviation. participants.tsv says who is a patient and which real subjects stand behind each subject.
Files that are not part of BIDS are listed in .bidsignore.
"""


def write_description(root: Path, name: str, channels: Sequence[str]) -> None:
    """Write `dataset_description.json`, README and `.bidsignore` of a derivative we make.

    Args:
        root: folder of the cohort.
        name: of the data set.
        channels: BIDS suffixes of the images, the reference first.
    """
    write_json(
        root / "dataset_description.json",
        {
            "Name": name,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "LesionForge", "Version": __version__}],
            "Channels": list(channels),
        },
    )
    with atomic(root / "README") as part:
        part.write_text(README.format(name=name, version=__version__, channels=", ".join(channels)))
    write_bidsignore(root)


def write_bidsignore(root: Path) -> None:
    """List in `.bidsignore` what we keep beside the BIDS files of a derivative."""
    with atomic(root / ".bidsignore") as part:
        part.write_text("".join(f"{pattern}\n" for pattern in OWN_FILES))


def subject_volumes(
    channels: Sequence[str],
    images: np.ndarray,
    brain: np.ndarray,
    tissues: np.ndarray,
    lesion: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the volumes of a prepared subject by suffix, as `write_subject` takes them.

    Args:
        channels: BIDS suffix of each image.
        images: (C, X, Y, Z).
        brain: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) probabilities in the order of `TISSUES`.
        lesion: (X, Y, Z) bool; None without a label.
    """
    volumes = dict(zip((*channels, "desc-brain_mask"), (*images, brain), strict=True))
    volumes |= {f"label-{t}_probseg": p for t, p in zip(TISSUES, tissues, strict=True)}
    return volumes if lesion is None else volumes | {"label-lesion_mask": lesion}


def write_subject(
    subject: Subject, volumes: dict[str, np.ndarray], grid: Grid, sidecar: dict[str, Any]
) -> None:
    """Write a subject's volumes and their sidecars; the first channel's comes last.

    It marks the subject as complete.

    Args:
        subject: where to write.
        volumes: BIDS suffix (each channel, `desc-brain_mask`, `label-GM_probseg`,
            `label-lesion_mask` ...) to (X, Y, Z) array.
        grid: their common grid.
        sidecar: what is to be known of them; `SkullStripped`, `SpatialReference` and
            `VolumeSHA256` (file name to checksum) are added.
    """
    sidecar_path(subject).unlink(missing_ok=True)  # incomplete until all is written anew
    for suffix, data in volumes.items():
        write_volume(subject.path(suffix), data, grid)
        if suffix not in subject.channels:
            write_json(
                json_path(subject, suffix),
                {
                    "Sources": list(subject.sources),
                    "SpatialReference": SPATIAL_REFERENCE,
                    **_mask_type(suffix),
                },
            )
    paths = [subject.path(suffix) for suffix in volumes]
    content = {
        "SkullStripped": True,
        "Sources": list(subject.sources),
        "SpatialReference": SPATIAL_REFERENCE,
        **sidecar,
        "VolumeSHA256": {path.name: sha256(path) for path in paths},
    }
    for channel in reversed(subject.channels):
        write_json(json_path(subject, channel), content)


def _mask_type(suffix: str) -> dict[str, str]:
    if suffix.endswith("_mask"):
        kinds = {"lesion": "Lesion", "ignore": "ROI"}
        return {"Type": next((kind for word, kind in kinds.items() if word in suffix), "Brain")}
    return {}


def json_path(subject: Subject, suffix: str) -> Path:
    """Return the sidecar of one of a subject's volumes."""
    path = subject.path(suffix)
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def sidecar_path(subject: Subject) -> Path:
    """Return the sidecar that says everything about a subject: its first channel's."""
    return json_path(subject, subject.channels[0])


def is_complete(subject: Subject) -> bool:
    """Tell whether a subject was written to the end."""
    return sidecar_path(subject).exists()


def write_participants(root: Path, subjects: list[Subject], **columns: list[Any]) -> None:
    """Write `participants.tsv`: participant_id, group, site, synthetic, sources, and `columns`.

    Columns `participant` and `dataset` are there where a person has several scans, or several data
    sets were put together.
    """
    if any(s.person != s.id for s in subjects):
        columns["participant"] = [s.person for s in subjects]
    if len({s.dataset for s in subjects}) > 1:
        columns["dataset"] = [s.dataset for s in subjects]
    table = pd.DataFrame(
        {
            "participant_id": [s.id for s in subjects],
            "group": [s.group for s in subjects],
            "site": [s.site for s in subjects],
            "synthetic": [int(s.synthetic) for s in subjects],
            "sources": [",".join(s.sources) for s in subjects],
            **columns,
        }
    )
    described = {c: COLUMNS[c] for c in table.columns if c in COLUMNS}
    if UNLABELLED in set(table["group"]):
        group = COLUMNS["group"]
        levels = {**group["Levels"], UNLABELLED: UNLABELLED_LEVEL}
        described["group"] = {**group, "Levels": levels}
    write_json(root / "participants.json", described)
    write_tsv(root / "participants.tsv", table)


def read_cohort(root: Path) -> list[Subject]:
    """Read the subjects of a prepared or synthetic cohort, in the order of `participants.tsv`.

    Raises:
        DataError: the table is missing or faulty, or subjects in it lack files; all are named.
    """
    table = read_tsv(
        root / "participants.tsv",
        participant_id=str,
        group=str,
        site=str,
        synthetic=int,
        sources=str,
    )
    table["site"] = table["site"].fillna("n/a")
    channels = read_channels(root)
    subjects = [
        Subject(
            row["participant_id"],
            row["group"],
            row["site"],
            root,
            bool(row["synthetic"]),
            tuple(row["sources"].split(",")),
            participant=str(row.get("participant", "")),
            dataset=str(row.get("dataset", "n/a")),
            channels=channels,
        )
        for row in table.to_dict("records")
    ]
    lacking = [str(path) for s in subjects for path in expected_files(s) if not path.exists()]
    if lacking:
        raise DataError(
            f"{root} is incomplete, run its stage again. Missing: "
            + ", ".join(lacking[:10])
            + (f" and {len(lacking) - 10} more" if len(lacking) > 10 else "")
        )
    return subjects


def read_channels(root: Path) -> tuple[str, ...]:
    """Return the channels of a prepared or synthetic cohort, the reference first.

    Raises:
        DataError: the cohort was prepared by version 0.1, or not by LesionForge.
    """
    path = root / "dataset_description.json"
    channels = read_json(path).get("Channels")
    if not isinstance(channels, list) or not channels:
        raise DataError(
            f"{path} does not name `Channels`: the cohort was prepared by version 0.1 or by "
            "another program. Prepare it again in a new folder."
        )
    return tuple(str(channel) for channel in channels)


def acquisition_column(channel: str) -> str:
    """Return the column of `quality.tsv` that holds the acquisition protocol of a channel."""
    return f"acq_{channel.lower()}"


def read_people(cohort: Path) -> pd.DataFrame:
    """Return what is known of a prepared cohort's subjects, one row each.

    Columns: participant_id, participant (who was scanned), group, site, dataset, split (of a
    published split, else `n/a`), and those of
    `quality.tsv`, of which `lesion_ml` and an `acq_*` column a channel are always there.
    """
    who = read_tsv(cohort / "participants.tsv", participant_id=str, group=str, site=str)
    figures = read_tsv(cohort / "quality.tsv", participant_id=str)
    known = ["participant_id", "participant", "group", "site", "dataset", "split"]
    who = who.reindex(columns=known)
    who["participant"] = who["participant"].fillna(who["participant_id"])
    people = who.merge(figures, on="participant_id", validate="one_to_one")
    words = ["site", "dataset", "split"]
    people[words] = people[words].astype(object).fillna("n/a")
    wanted = (*map(acquisition_column, read_channels(cohort)), "lesion_ml")
    lacking = [c for c in wanted if c not in people]
    return people.assign(**dict.fromkeys(lacking))


def expected_files(subject: Subject) -> list[Path]:
    """List the NIfTI files that a complete subject has."""
    files = [*subject.images, subject.brain, *(subject.tissue(t) for t in TISSUES)]
    return [*files, subject.lesion] if subject.group == "patient" else files

"""A blinded reading: can experts tell real from synthetic? The kit's key, the readings' score."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, DataError
from lesionforge.metrics.intervals import wilson
from lesionforge.provenance import read_json, write_json
from lesionforge.seeding import stream

SCHEMA = 1
SALT_BYTES = 32
CONFIDENCES = range(1, 6)
Answer = Literal["real", "synthetic"]


@dataclass(frozen=True)
class Case:
    """One volume to be read.

    Attributes:
        name: neutral, `T1w-01`.
        contrast: the channel; those of a subject are read apart, under unrelated names.
        subject: participant id.
        truth: what it is.
        root: of the subject's cohort.
    """

    name: str
    contrast: str
    subject: str
    truth: Answer
    root: str


def sample_cases(
    real: Sequence[Subject], synthetic: Sequence[Subject], n: int, seed: int
) -> list[Case]:
    """Draw `n` real and `n` synthetic patients, and the order in which their scans are read.

    No real case stands behind a synthetic one, as its host or in any other way.

    Args:
        real: patients to choose from.
        synthetic: synthetic patients to choose from.
        n: of each.
        seed: of choice and order.

    Raises:
        ConfigError: there are too few.
    """
    made = [s for s in synthetic if s.group == "patient"]
    if n < 1 or len(made) < n:
        raise ConfigError(f"{n} synthetic patients were asked for, the set has {len(made)}.")
    rng = stream(seed, "reading")
    chosen = [made[i] for i in sorted(rng.choice(len(made), n, replace=False))]
    behind = {source for s in chosen for source in s.sources}
    allowed = [s for s in real if s.group == "patient" and s.id not in behind]
    if len(allowed) < n:
        raise ConfigError(
            f"{n} real patients were asked for; {len(allowed)} of the cohort stand behind no "
            "synthetic case. Read fewer (--n)."
        )
    shown = [allowed[i] for i in sorted(rng.choice(len(allowed), n, replace=False))]
    pairs: list[tuple[Subject, Answer]] = [(s, "real") for s in shown]
    pairs += [(s, "synthetic") for s in chosen]
    cases = []
    for contrast in shown[0].channels:
        for number, index in enumerate(rng.permutation(len(pairs)), start=1):
            subject, truth = pairs[index]
            name = f"{contrast}-{number:02d}"
            cases.append(Case(name, contrast, subject.id, truth, str(subject.root)))
    return cases


def seal(cases: Sequence[Case], salt: bytes, folder: Path) -> str:
    """Write the commitment, then the key; return the commitment.

    The commitment (SHA-256 of a 256-bit salt and the key's cases) binds the key before anybody
    reads, and gives nothing away; `key/key.json` stays with whoever scores.

    Raises:
        DataError: the folder holds a kit already.
    """
    if (folder / "commitment.json").exists():
        raise DataError(f"{folder} holds a reading kit already. Choose another folder.")
    content = [asdict(case) for case in cases]
    digest = commitment(salt, content)
    write_json(folder / "commitment.json", {"schema": SCHEMA, "sha256": digest})
    write_json(
        folder / "key" / "key.json", {"schema": SCHEMA, "salt": salt.hex(), "cases": content}
    )
    (folder / "key").chmod(0o700)
    return digest


def commitment(salt: bytes, cases: list[dict[str, Any]]) -> str:
    """Return the SHA-256 of the salt and the cases as sorted JSON."""
    if len(salt) != SALT_BYTES:
        raise DataError(f"A salt has {SALT_BYTES} bytes, got {len(salt)}.")
    return hashlib.sha256(salt + json.dumps(cases, sort_keys=True).encode()).hexdigest()


def open_key(folder: Path) -> list[Case]:
    """Read a kit's key and check it against the commitment.

    Raises:
        DataError: a file is missing, of a later version, or the key is not the one committed to.
    """
    promise, key = read_json(folder / "commitment.json"), read_json(folder / "key" / "key.json")
    _check_schema(promise, folder / "commitment.json")
    _check_schema(key, folder / "key" / "key.json")
    try:
        found = commitment(bytes.fromhex(key["salt"]), key["cases"])
        cases = [Case(**case) for case in key["cases"]]
        promised = promise["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder} does not hold a whole reading kit: {error}") from None
    if found != promised:
        raise DataError(
            f"{folder / 'key' / 'key.json'} is not the key that was committed to before the "
            "reading (its hash differs). Nothing was scored."
        )
    return cases


def _check_schema(content: Any, path: Path) -> None:
    version = content.get("schema") if isinstance(content, dict) else None
    if version != SCHEMA:
        raise DataError(
            f"{path} has schema {version}, this LesionForge knows {SCHEMA}. "
            "Was it written by another version?"
        )


@dataclass(frozen=True)
class Reading:
    """One reader's answers.

    Attributes:
        reader: name.
        answers: case name to `real` or `synthetic`.
        confidence: case name to 1 (guess) ... 5 (certain).
        comments: case name to words.
    """

    reader: str
    answers: Mapping[str, Answer]
    confidence: Mapping[str, int]
    comments: Mapping[str, str]


def read_reading(path: Path, cases: Sequence[Case], promised: str) -> Reading:
    """Read the file that the kit's page has saved.

    Raises:
        DataError: it belongs to another kit, lacks cases, or holds what the page never writes; all
            of it is named.
    """
    content = read_json(path)
    _check_schema(content, path)
    if content.get("commitment") != promised:
        raise DataError(f"{path} is a reading of another kit (its commitment differs).")
    rows = {row.get("case"): row for row in content.get("answers", []) if isinstance(row, dict)}
    names = [case.name for case in cases]
    missing = [n for n in names if rows.get(n, {}).get("answer") not in get_args(Answer)]
    strange = [str(n) for n in rows if n not in names]
    unsure = [n for n in names if n not in missing and rows[n].get("confidence") not in CONFIDENCES]
    faults = {
        "has no answer for": missing,
        "answers unknown": strange,
        "has no confidence for": unsure,
    }
    found = [f"{what} {', '.join(which)}" for what, which in faults.items() if which]
    if found or not content.get("reader"):
        found += [] if content.get("reader") else ["does not say who has read"]
        raise DataError(f"{path} {'; '.join(found)}. Open the page again, finish and save.")
    return Reading(
        str(content["reader"]),
        {name: rows[name]["answer"] for name in names},
        {name: int(rows[name]["confidence"]) for name in names},
        {name: str(rows[name].get("comment", "")) for name in names},
    )


def score_readings(cases: Sequence[Case], readings: Sequence[Reading]) -> dict[str, Any]:
    """Score readers against the key.

    Returns:
        `readers`: for each, and each contrast, accuracy with Wilson's 95 % interval (its
        denominator is the number of volumes; a reader who cannot tell has 50 %), how many synthetic
        were called real and real synthetic, and `fooled_by`: the wrong answers, surest first.
        `agreement`: Cohen's kappa of each pair of readers and contrast (None where undefined).

    Raises:
        DataError: two readings have the same reader.
    """
    names = [reading.reader for reading in readings]
    if len(set(names)) != len(names):
        raise DataError(f"Two readings say they are by the same reader: {', '.join(names)}.")
    contrasts = list(dict.fromkeys(case.contrast for case in cases))
    scored: dict[str, Any] = {"readers": {}, "agreement": []}
    for reading in readings:
        scored["readers"][reading.reader] = {
            contrast: _score(reading, [c for c in cases if c.contrast == contrast])
            for contrast in contrasts
        }
    for index, one in enumerate(readings):
        for other in readings[index + 1 :]:
            for contrast in contrasts:
                mine = [c.name for c in cases if c.contrast == contrast]
                pair = [[reading.answers[n] for n in mine] for reading in (one, other)]
                kappa = float(cohen_kappa_score(*pair))
                scored["agreement"].append({
                    "readers": [one.reader, other.reader],
                    "contrast": contrast,
                    "kappa": kappa if kappa == kappa else None,
                    "agreed": sum(a == b for a, b in zip(*pair, strict=True)),
                    "n": len(mine),
                })  # fmt: skip
    return scored


def _score(reading: Reading, cases: list[Case]) -> dict[str, Any]:
    wrong = [case for case in cases if reading.answers[case.name] != case.truth]
    right = len(cases) - len(wrong)
    wrong.sort(key=lambda case: (-reading.confidence[case.name], case.name))
    return {
        "right": right,
        "n": len(cases),
        "accuracy": right / len(cases),
        "ci95": list(wilson(right, len(cases))),
        "synthetic_called_real": sum(case.truth == "synthetic" for case in wrong),
        "real_called_synthetic": sum(case.truth == "real" for case in wrong),
        "fooled_by": [
            {
                "case": case.name,
                "subject": case.subject,
                "truth": case.truth,
                "confidence": reading.confidence[case.name],
                "comment": reading.comments[case.name],
            }
            for case in wrong
        ],
    }


def reading_table(scored: dict[str, Any]) -> pd.DataFrame:
    """Return the scores as a table: one row a reader and contrast."""
    rows = [
        {
            "reader": reader,
            "contrast": contrast,
            "accuracy": f"{100 * found['accuracy']:.0f} %",
            "95 % interval": "{:.0f}-{:.0f} %".format(*(100 * x for x in found["ci95"])),
            "right": f"{found['right']} of {found['n']}",
            "synthetic called real": found["synthetic_called_real"],
            "real called synthetic": found["real_called_synthetic"],
        }
        for reader, contrasts in scored["readers"].items()
        for contrast, found in contrasts.items()
    ]
    return pd.DataFrame(rows)

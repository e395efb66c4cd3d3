"""From tissue to signal: relaxation of healthy tissue and the equations of three sequences.

Values are those of healthy adults, rounded, within the ranges of the sources. At 3 T: Wansapura et
al. 1999, JMRI 9:531 (grey matter T1 1331, T2 110 ms; white matter 832 and 80); Stanisz et al. 2005,
MRM 54:507 (1820, 99; 1084, 69). At 1.5 T: Stanisz et al. (1124, 95; 884, 72) and BrainWeb (Collins
et al. 1998, IEEE TMI 17:463: 833, 83; 500, 70). Proton density: BrainWeb (0.86, 0.77) and water
content of Neeb et al. 2006, NeuroImage 31:1156. CSF: Lin et al. 2001, J Comput Assist Tomogr 25:183
(T1 4163 ms at 3 T). Arterial blood: Lu et al. 2004, MRM 52:679 (T1 1664 ms at 3 T).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lesionforge.phantoms.cortex import smooth_noise
from lesionforge.phantoms.head import Head, HeadSpec

Kind = Literal["mprage", "spin_echo"]
# Proton density, T1 and T2 in ms of CSF, GM, WM and blood.
RELAXATION: dict[float, tuple[tuple[float, float, float], ...]] = {
    3.0: ((1.0, 4150, 1500), (0.84, 1400, 100), (0.71, 860, 76), (0.86, 1650, 120)),
    1.5: ((1.0, 3900, 1800), (0.84, 1000, 95), (0.71, 620, 76), (0.86, 1450, 180)),
}
# Trains of refocusing pulses saturate bound water, most in white matter (Santyr 1993, Magn Reson
# Imaging 11:1143): shares of the signal of GM and WM that are left.
TRANSFER = (0.95, 0.84)
ECHO_MS = 7.5  # from one pulse of an MPRAGE's train to the next
SCALES_MM = ((3.5, 0.45), (7.0, 0.55), (14.0, 0.7))  # of variation inside tissues, and its weight


@dataclass(frozen=True)
class Sequence:
    """A pulse sequence; times in ms.

    Attributes:
        kind: `mprage`, an inversion recovery gradient echo; `spin_echo`, with or without inversion.
        tr: from one inversion (or excitation) to the next.
        te: effective echo time.
        ti: from inversion to the centre of k-space; 0 without inversion.
        flip_deg: of a gradient echo.
        train: duration of the train of echoes.
        flow: share of blood's signal that is seen: above 1 where it flows in, near 0 in a void.
    """

    kind: Kind
    tr: float
    te: float
    ti: float = 0.0
    flip_deg: float = 90.0
    train: float = 0.0
    flow: float = 0.05


@dataclass
class Matter:
    """Relaxation of a head's grey and white matter, as factors on `RELAXATION`.

    Attributes:
        tissue: (3, N) shares of CSF, GM, WM.
        pd, t1, t2: (2, N) factors of GM and WM.
        blood: (N,) share of blood; takes from all tissues alike.
        inflow: (N,) how much CSF that flows in escapes its inversion, 0 to 1.
    """

    tissue: np.ndarray
    pd: np.ndarray
    t1: np.ndarray
    t2: np.ndarray
    blood: np.ndarray
    inflow: np.ndarray

    def copy(self) -> "Matter":
        """Return a copy that may be changed."""
        return Matter(*(getattr(self, name).copy() for name in self.__dataclass_fields__))


def healthy_matter(spec: HeadSpec, head: Head, rng: np.random.Generator) -> Matter:
    """Return the relaxation of a healthy head: smooth variation, myelin, iron, long tracts."""
    count = head.tissue.shape[1]
    macro, other = (_variation(rng, head.inside) for _ in range(2))
    maps, ones = head.maps, np.ones((2, count), dtype=np.float32)
    pd, t1, t2 = (np.zeros((2, count), dtype=np.float32) for _ in range(3))
    t1[0] = 0.045 * macro - 1.1 * maps["texture"]
    t1[1] = 0.035 * macro - 1.0 * maps["texture"]
    t2[0] = 0.035 * macro + 0.03 * other + 0.10 * maps["limbic"]
    t2[1] = 0.025 * macro + 0.03 * other + 0.10 * maps["tract"]
    t2 -= (0.20 + 0.20 * spec.atrophy) * maps["iron"]
    t1 -= 0.10 * maps["iron"]
    pd[:] = 0.015 * macro + 0.01 * other
    t1[1] += 0.05 * spec.atrophy
    t2[1] += 0.04 * spec.atrophy
    return Matter(
        tissue=head.tissue.copy(),
        pd=ones + pd,
        t1=np.exp(t1),
        t2=np.exp(t2),
        blood=np.zeros(count, dtype=np.float32),
        inflow=np.zeros(count, dtype=np.float32),
    )


def _variation(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    fields = [w * smooth_noise(rng, inside.shape, scale)[inside] for scale, w in SCALES_MM]
    total: np.ndarray = np.sum(fields, axis=0)
    return total


def signal(matter: Matter, sequence: Sequence, field: float) -> np.ndarray:
    """Return the signal (N,) of a head, signed, in units of proton density."""
    csf, *solid, blood = RELAXATION[field]
    seen = matter.tissue[0] * _constant(sequence, csf)
    if sequence.ti and sequence.kind == "spin_echo":
        fresh = _constant(replace(sequence, ti=0.0), csf)
        seen = seen + matter.tissue[0] * matter.inflow * fresh
    for k, (pd, t1, t2) in enumerate(solid):
        share = matter.tissue[k + 1] * pd * matter.pd[k]
        if sequence.kind == "spin_echo":
            share = share * TRANSFER[k]
        seen = seen + share * _weight(sequence, t1 * matter.t1[k], t2 * matter.t2[k])
    flowing = sequence.flow * abs(_constant(sequence, blood))
    return np.asarray(seen * (1 - matter.blood) + flowing * matter.blood, dtype=np.float32)


def white_level(sequence: Sequence, field: float) -> float:
    """Return the signal of healthy white matter without variation, positive."""
    transfer = TRANSFER[1] if sequence.kind == "spin_echo" else 1.0
    return transfer * abs(_constant(sequence, RELAXATION[field][2]))


def _constant(sequence: Sequence, relaxation: tuple[float, float, float]) -> float:
    pd, t1, t2 = relaxation
    return pd * float(_weight(sequence, np.array(t1), np.array(t2)))


def _weight(sequence: Sequence, t1: np.ndarray, t2: np.ndarray) -> np.ndarray:
    return _mprage(sequence, t1) if sequence.kind == "mprage" else _spin_echo(sequence, t1, t2)


def _spin_echo(sequence: Sequence, t1: np.ndarray, t2: np.ndarray) -> np.ndarray:
    """Return the signal of a (turbo) spin echo, with inversion where `ti` is not 0."""
    along = 1 - np.exp(-(sequence.tr - sequence.train) / t1)
    if sequence.ti:
        along = 1 - 2 * np.exp(-sequence.ti / t1) + np.exp(-(sequence.tr - sequence.train) / t1)
    return np.asarray(along * np.exp(-sequence.te / t2))


def _mprage(sequence: Sequence, t1: np.ndarray) -> np.ndarray:
    """Return the signal at the centre of k-space of an MPRAGE in its steady state.

    Deichmann et al. 2000, NeuroImage 12:112: a train of pulses of a small angle drives the
    magnetization toward a steady state of its own; the rest of the cycle it recovers.
    """
    angle = np.deg2rad(sequence.flip_deg)
    decay = np.exp(-ECHO_MS / t1)
    steady = (1 - decay) / (1 - np.cos(angle) * decay)
    half = np.exp(sequence.train / ECHO_MS / 2 * (np.log(np.cos(angle)) - ECHO_MS / t1))
    through = half**2
    before = np.exp(-(sequence.ti - sequence.train / 2) / t1)
    after = np.exp(-(sequence.tr - sequence.ti - sequence.train / 2) / t1)
    end = 1 - after + after * (steady + through * (1 - before - steady))
    end = end / (1 + after * through * before)
    start = 1 - (1 + end) * before
    return np.asarray(np.sin(angle) * (steady + (start - steady) * half))

"""Three simulated scanners and their sequences: sites of a cohort."""

from dataclasses import dataclass

from lesionforge.phantoms.signal import Sequence

CHANNELS = ("T1w", "T2w", "FLAIR")


@dataclass(frozen=True)
class Protocol:
    """One sequence of one scanner.

    Attributes:
        sequence: timing.
        voxel_mm: voxel size; the last axis is the slice's.
        tilt_deg: turns the slices about the left-right axis.
        orientation: how the file stores the axes.
        noise: standard deviation, in shares of white matter's signal.
        bias: strength of the receive field (log).
        gain: stored value of white matter.
        smooth: correlation of noise by reconstruction, standard deviation in voxels.
    """

    sequence: Sequence
    voxel_mm: tuple[float, float, float]
    tilt_deg: float
    orientation: str
    noise: float
    bias: float
    gain: float
    smooth: float = 0.45


@dataclass(frozen=True)
class Site:
    """A scanner: its share of subjects, field strength in tesla and protocols."""

    share: float
    field: float
    protocols: dict[str, Protocol]


def _mprage(tr: float, ti: float, flip: float, train: float, flow: float) -> Sequence:
    return Sequence("mprage", tr, 3.0, ti, flip, train, flow)


def _flair(tr: float, ti: float, te: float, train: float) -> Sequence:
    return Sequence("spin_echo", tr, te, ti, train=train)


def _t2w(tr: float, te: float, train: float) -> Sequence:
    return Sequence("spin_echo", tr, te, train=train)


# A: quiet, sharp 3 T. B: 3 T of another vendor, stronger bias, softer. C: 1.5 T with 2D FLAIR and
# T2w in thick slices.
SITES = {
    "A": Site(
        0.40,
        3.0,
        {
            "T1w": Protocol(
                _mprage(2300, 900, 9, 1150, 1.8), (1.0, 1.0, 1.0), 0, "RAS", 0.026, 0.10, 900
            ),
            "T2w": Protocol(_t2w(3200, 100, 600), (1.0, 1.0, 1.0), 0, "RAS", 0.04, 0.10, 420),
            "FLAIR": Protocol(
                _flair(7000, 2060, 130, 700), (1.0, 1.0, 1.1), 0, "RAS", 0.045, 0.10, 420
            ),
        },
    ),
    "B": Site(
        0.35,
        3.0,
        {
            "T1w": Protocol(
                _mprage(2000, 1000, 8, 1000, 1.5),
                (0.95, 0.95, 1.0),
                0,
                "LAS",
                0.03,
                0.18,
                2300,
                0.6,
            ),
            "T2w": Protocol(_t2w(4500, 90, 150), (0.9, 0.9, 2.0), 9, "LAS", 0.045, 0.18, 1100, 0.6),
            "FLAIR": Protocol(
                _flair(8000, 2250, 115, 250), (1.0, 1.0, 1.2), 9, "LAS", 0.055, 0.18, 1100, 0.6
            ),
        },
    ),
    "C": Site(
        0.25,
        1.5,
        {
            "T1w": Protocol(
                _mprage(1900, 850, 8, 900, 1.3), (1.05, 1.05, 1.2), 0, "ASR", 0.042, 0.14, 310, 0.55
            ),
            "T2w": Protocol(_t2w(4000, 95, 150), (0.95, 0.95, 5.0), -14, "LPS", 0.04, 0.14, 170),
            "FLAIR": Protocol(
                _flair(9000, 2400, 102, 180), (1.0, 1.0, 5.0), -14, "LPS", 0.05, 0.14, 170
            ),
        },
    ),
}

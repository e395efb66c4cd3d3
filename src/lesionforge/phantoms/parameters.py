"""What is fixed about the phantoms: difficulty, lobes, signs by subtype, three scanners.

Difficulty was calibrated on seeds that no study uses (docs/results/calibration) and is frozen under
its version in `DIFFICULTY`: a harder or easier cohort is a new version, never a changed one.
"""

from dataclasses import dataclass
from typing import Literal

from lesionforge.phantoms.config import PhantomVersion

LOBES = ("frontal", "temporal", "parietal", "occipital", "insula")
LOBE_SHARES = (0.48, 0.23, 0.16, 0.07, 0.06)
ConfounderKind = Literal["wm_spot", "cortical_spot", "vessel", "blurred_junction"]


@dataclass(frozen=True)
class Look:
    """How a stretch of abnormal cortex looks: a kind of lesion, or of benign stretch.

    Attributes:
        name: of the kind, the subtype in the truth table.
        share: of all lesions, or of all benign stretches.
        signs: signed shares of the full strength of thickening, blur, FLAIR hyperintensity and T1w
            hypointensity of the cortex, and of the same two in the white matter beneath.
    """

    name: str
    share: float
    signs: tuple[float, float, float, float, float, float]


def coded(share: float, codes: str) -> tuple[Look, ...]:
    """Return looks from codes such as `|+-0+`, separated by blanks, each with a share of all.

    The first character is the form: `=` thickened, `|` blurred, `.` neither. Then FLAIR and T1w of
    the cortex, FLAIR and T1w of the white matter beneath: brighter, unchanged or darker.
    """
    sign = {"+": 1.0, "0": 0.0, "-": -1.0}
    form = {"=": (1.0, 0.0), "|": (0.0, 1.0), ".": (0.0, 0.0)}
    looks = []
    for code in codes.split():
        flair, t1w, white_flair, white_t1w = (sign[c] for c in code[1:])
        signs = (*form[code[0]], flair, -t1w, white_flair, -white_t1w)
        looks.append(Look(code, share, signs))
    return tuple(looks)


@dataclass(frozen=True)
class Difficulty:
    """The knobs that decide how hard the cohort is; intensities are shares of the brightest tissue.

    Attributes:
        conspicuity: lowest and highest conspicuity; every sign of a lesion is scaled by it.
        conspicuity_shape: the two parameters of the beta distribution between them.
        thickening_mm: cortical thickening at conspicuity 1.
        blur_mm: standard deviation of the blurred grey-white junction at conspicuity 1.
        flair: FLAIR hyperintensity at conspicuity 1.
        t1w: T1w hypointensity at conspicuity 1.
        lesions: kinds of lesions.
        mimics: kinds of benign stretches, which grow and vary like lesions.
        mimic_rate: mean number of benign stretches a subject.
        transmantle_share: of lesions with a tail toward the ventricle.
        volume_mm3: smallest, median and largest lesion volume.
        volume_log_sd: standard deviation of the logarithm of volume.
        confounder_rates: mean number a subject of each `ConfounderKind`.
        confounder_flair: weakest and strongest FLAIR signal of a benign bright spot; one in white
            matter, which is darker, gets `wm_spot_extra` more.
        wm_spot_extra: see `confounder_flair`.
        ghost_share: of scans with motion ghosts.
        ghost: weakest and strongest ghost.
        contrast_sd: subject-to-subject standard deviation of a tissue's mean intensity.
        regional_sd: standard deviation of slow intensity changes inside one tissue.
        cortex_sd: standard deviation of the local shift of the grey-white boundary (log-odds).
        fold_sd: standard deviation of the local shift of the pial boundary (log-odds).
        noise: factor on every scanner's noise.
    """

    conspicuity: tuple[float, float] = (0.05, 1.0)
    conspicuity_shape: tuple[float, float] = (1.0, 1.1)
    thickening_mm: float = 3.5
    blur_mm: float = 3.0
    flair: float = 0.50
    t1w: float = 0.22
    lesions: tuple[Look, ...] = (
        Look("t1w", 0.3, (1, 1, 0.15, 1, 0, 0)),
        Look("flair", 0.3, (0.3, 0.4, 0.75, 0.5, 0, 0)),
        Look("both", 0.4, (0.8, 0.9, 0.6, 1, 0, 0)),
    )
    mimics: tuple[Look, ...] = ()
    mimic_rate: float = 0.0
    transmantle_share: float = 0.3
    volume_mm3: tuple[float, float, float] = (400.0, 2000.0, 15000.0)
    volume_log_sd: float = 0.85
    confounder_rates: tuple[float, float, float, float] = (2.2, 1.2, 1.2, 0.9)
    confounder_flair: tuple[float, float] = (0.10, 0.40)
    wm_spot_extra: float = 0.15
    ghost_share: float = 0.25
    ghost: tuple[float, float] = (0.02, 0.09)
    contrast_sd: float = 0.025
    regional_sd: float = 0.03
    cortex_sd: float = 0.40
    fold_sd: float = 0.9
    noise: float = 1.0


# 1: for studies with a dozen patients, who suffice to learn something. 2: most lesions are near the
# limit of detection, which no number of patients moves. 3: most lesions are visible, but of fifteen
# kinds, and some benign stretches of fifteen others look like them: kinds must be seen to be known.
DIFFICULTY: dict[PhantomVersion, Difficulty] = {
    "1": Difficulty(),
    "2": Difficulty(conspicuity=(0.05, 0.75), conspicuity_shape=(3.0, 3.0), contrast_sd=0.035),
    "3": Difficulty(
        conspicuity=(0.25, 1.0),
        conspicuity_shape=(1.6, 1.2),
        thickening_mm=4.0,
        blur_mm=4.0,
        flair=0.40,
        t1w=0.28,
        lesions=(
            *coded(0.05, "=++0+ =+-00 =+00- |++0- |+0+- |+000 |+-+0 .+++- .+-0+ .+00+"),
            *coded(0.10, "=0++0 =0-++ |0+0+ .0+++ .0+0-"),
        ),
        mimics=coded(
            1 / 15,
            "=++++ =+-++ =+0++ =0+00 =0-0+ |+++0 |+-+- |+0+0 |0-+- |0-0- "
            ".++00 .+-0- .0++- .0-+0 .0-00",
        ),
        mimic_rate=0.5,
        confounder_rates=(1.5, 0.8, 1.0, 0.5),
    ),
}


@dataclass(frozen=True)
class Protocol:
    """One sequence of one scanner.

    `voxel` and `blur` are factors on the nominal voxel size; `tilt_deg` turns the slices about
    the left-right axis, `orientation` is how the file stores them; `tissue` is CSF, GM, WM.
    """

    voxel: tuple[float, float, float]
    tilt_deg: float
    orientation: str
    tissue: tuple[float, float, float]
    deep_grey: float
    blur: float
    noise: float
    bias: float
    gain: float


@dataclass(frozen=True)
class Scanner:
    """A simulated scanner: its share of subjects and its two protocols."""

    share: float
    t1w: Protocol
    flair: Protocol


# A is a quiet, sharp 3 T scanner; B has a stronger
# bias field and softer images; C is an old 1.5 T scanner with thick FLAIR slices.
SCANNERS = {
    "A": Scanner(
        0.40,
        Protocol((1.0, 1.0, 1.0), 0.0, "RAS", (0.22, 0.62, 1.0), 0.14, 0.8, 0.020, 0.10, 900.0),
        Protocol((1.04, 1.04, 1.08), 0.0, "RAS", (0.16, 1.0, 0.76), -0.05, 0.8, 0.026, 0.10, 420.0),
    ),
    "B": Scanner(
        0.35,
        Protocol((0.96, 0.96, 1.04), 0.0, "LAS", (0.28, 0.66, 1.0), 0.12, 1.1, 0.028, 0.18, 2300.0),
        Protocol((0.92, 0.92, 1.2), 9.0, "LAS", (0.20, 1.0, 0.80), -0.07, 1.1, 0.032, 0.18, 1100.0),
    ),
    "C": Scanner(
        0.25,
        Protocol((1.04, 1.0, 1.0), 0.0, "ASR", (0.33, 0.71, 1.0), 0.10, 1.2, 0.036, 0.14, 310.0),
        Protocol((1.0, 1.0, 1.5), -14.0, "LPS", (0.26, 1.0, 0.81), -0.04, 1.1, 0.036, 0.14, 170.0),
    ),
}

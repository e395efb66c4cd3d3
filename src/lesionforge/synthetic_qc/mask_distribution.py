"""Are synthetic lesion masks like fresh real ones in size, shape, depth and place?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import ks_2samp
from statsmodels.stats.multitest import multipletests
from tqdm import tqdm

from lesionforge.data.subject import Subject
from lesionforge.errors import MaskError
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.host import read_host
from lesionforge.lesions.inpainting import inpaint_tissues
from lesionforge.lesions.prior import LesionPrior
from lesionforge.lesions.sampling import sample_spec
from lesionforge.lesions.shape import describe_mask
from lesionforge.preprocessing.regions import REGIONS
from lesionforge.seeding import stream
from lesionforge.synthesis.plan import SubjectRequest
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.two_sample import LEAST

WORDS = {
    "volume_mm3": "volume",
    "sphericity": "sphericity",
    "elongation": "elongation",
    "flatness": "flatness",
    "spread": "spread",
    "inner_radius_mm": "inner radius",
    "depth_mm": "depth",
    "grey_share": "share of grey matter",
    "ribbon_share": "share in cortex or junction",
    "lateral_mm": "distance from the midline",
    "y_mm": "place, back to front",
    "z_mm": "place, bottom to top",
}
LIMIT = 0.2
Shapes = Sequence[dict[str, float]]


def sample_shapes(
    prior: LesionPrior, behind: Sequence[Subject], requests: Sequence[SubjectRequest], seed: int
) -> list[dict[str, float]]:
    """Draw masks by wishes, without images, and describe them.

    Hosts are the controls in turn, or the patients where there is no control. A wish that its host
    has no room for, with any lobe and side, is left out. Depth and shares of tissue are measured as
    in a patient, whose tissues at the lesion are an estimate: in the host's own tissues, which no
    lesion distorts, they would spread less.
    """
    hosts = [s for s in behind if s.group == "control"] or behind
    found = []
    for number, subject in enumerate(tqdm(hosts, desc="masks", unit="host", disable=None)):
        host = read_host(subject)
        for request in requests[number :: len(hosts)]:
            for asked in (request, request.relax_location()):
                rng = stream(seed, "audit", "mask", request.number)
                try:
                    spec = sample_spec(prior, host, rng, asked.lesion)
                except MaskError:
                    continue
                mask = render_mask(spec, host)
                estimated = inpaint_tissues(host.tissues, mask, host.grid)
                found.append(describe_mask(mask, replace(host, tissues=estimated)))
                break
    return found


def mask_findings(made: Shapes, own: Shapes, fresh: Shapes, trained: Shapes) -> list[Finding]:
    """Compare descriptors of masks.

    The Kolmogorov-Smirnov distance is the largest difference between two distribution functions.
    Few fresh masks are far from any others by chance: only a distance that is larger than chance
    allows (5 % over all descriptors, Holm) counts as a miss.

    Args:
        made: of synthetic masks and of more that were drawn like them, see
            `lesionforge.lesions.shape.describe_mask`.
        own: those of the set alone, for its coverage.
        fresh: of real masks that nothing was fitted to.
        trained: of the real masks that the prior was fitted to, which give the yardstick.
    """
    if min(len(made), len(fresh)) < LEAST:
        why = f"{len(made)} synthetic and {len(fresh)} fresh real masks: too few to compare"
        return [Finding("masks", "distances", None, "lower", "", why=why)]
    tests = [ks_2samp(_values(made, name), _values(fresh, name)) for name in WORDS]
    sure = multipletests([t.pvalue for t in tests], method="holm")[0]
    found = [
        _distance(name, (made, fresh, trained), float(test.statistic), bool(known))
        for name, test, known in zip(WORDS, tests, sure, strict=True)
    ]
    return [*found, _coverage(own, fresh)]


def _values(shapes: Shapes, name: str) -> np.ndarray:
    """Return a descriptor of all masks (N,)."""
    if name == "lateral_mm":
        return np.abs([shape["x_mm"] for shape in shapes])
    return np.array([shape[name] for shape in shapes])


def _distance(
    name: str, shapes: tuple[Shapes, Shapes, Shapes], distance: float, sure: bool
) -> Finding:
    ours, theirs, known = (_values(some, name) for some in shapes)
    real = float(ks_2samp(known, theirs).statistic) if len(known) >= LEAST else None
    beyond = "more than chance gives" if sure else "no more than chance gives"
    sentence = (
        f"Median {_quantity(name, ours)} against {_quantity(name, theirs)} in fresh real lesions; "
        f"0 is the same distribution, 1 none in common. This is {beyond}."
    )
    return Finding(
        "masks",
        f"KS distance of {WORDS[name]}",
        distance,
        "lower",
        sentence,
        real=real,
        limit=LIMIT,
        sure=sure,
    )


def _quantity(name: str, values: np.ndarray) -> str:
    """Write the median of a descriptor with its unit, which its name ends with."""
    middle = float(np.median(values))
    if name.endswith("_mm3"):
        return f"{middle:,.0f} mm³"
    return f"{middle:.1f} mm" if name.endswith("_mm") else f"{middle:.2f}"


def _coverage(made: Shapes, fresh: Shapes) -> Finding:
    """Return the share of fresh real lesions whose lobe and side a synthetic lesion has too."""

    def places(shapes: Shapes) -> list[tuple[int, float]]:
        return [(int(s["place"]), s["side"]) for s in shapes]

    have, need = set(places(made)), places(fresh)
    share = float(np.mean([place in have for place in need]))
    lacking = sorted({f"{'left' if side < 0 else 'right'} {REGIONS[place]}"
                      for place, side in need if (place, side) not in have})  # fmt: skip
    rest = f"; none in {', '.join(lacking)}" if lacking else ""
    return Finding(
        "masks",
        "lobes and sides covered",
        share,
        "higher",
        f"{share:.0%} of fresh real lesions lie in a lobe and on a side where the set has a lesion"
        f" too{rest}.",
    )

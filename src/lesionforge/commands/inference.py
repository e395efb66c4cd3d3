"""Look for lesions in new scans, which belong to no study."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lesionforge.errors import OF_ONE_SUBJECT, DataError
from lesionforge.provenance import alone, sweep

if TYPE_CHECKING:
    from lesionforge.detection.inference import TrainedDetector

logger = logging.getLogger(__name__)


def predict(weights: str, scans: list[str], out: str = "predicted") -> None:
    """Look for lesions in new scans with a trained detector. Research use only.

    Every candidate is listed with its score; the thresholds that a study chose on its validation
    subjects are in its report (`tables/seeds.tsv`). Scans that are done are passed over, and those
    that cannot be used are named at the end.

    Args:
        weights: folder of a trained detector (`runs/<study>/detector/<regime>/seed-<S>`).
        scans: BIDS-like folders, or files that end in the detector's channels (`*_T1w.nii.gz`, say)
            and belong together by participant and session.
        out: folder for candidates.tsv, the probability map on the reference scan's grid and a page,
            for each scan.
    """
    from lesionforge.detection.inference import load_detector
    from lesionforge.detection.new_scans import find_scans

    detector = load_detector(Path(weights))
    heads, failed = find_scans([Path(scan) for scan in scans], detector.channels)
    with alone(Path(out) / ".lock", Path(out), 0):
        sweep(Path(out))
        for name, images in heads.items():
            error = _predict_one(detector, Path(weights), images, Path(out) / name)
            failed += [f"{name}: {error}"] if error else []
    if failed:
        raise DataError("Not every scan could be used:\n- " + "\n- ".join(failed))


def _predict_one(
    detector: "TrainedDetector", weights: Path, images: "dict[str, Path]", folder: Path
) -> Exception | None:
    """Write the candidates and the page of one scan; return what made it unusable."""
    from lesionforge.detection.new_scans import is_predicted, predict_scan
    from lesionforge.report.pages import scan as scan_page

    page = folder / scan_page.PAGE
    if page.exists() and is_predicted(weights, images, folder):
        logger.info("%s is done already: %s", folder.name, page)
        return None
    page.unlink(missing_ok=True)
    logger.info("%s: %s", folder.name, ", ".join(map(str, images.values())))
    try:
        scan_page.write_scan_page(predict_scan(detector, weights, images, folder), folder)
    except OF_ONE_SUBJECT as error:
        return error
    return None

"""Look for lesions in new scans, which belong to no study."""

import logging
from pathlib import Path

from lesionforge.errors import OF_ONE_SUBJECT, DataError
from lesionforge.provenance import alone, sweep

logger = logging.getLogger(__name__)


def detect(weights: str, scans: list[str], out: str = "detected") -> None:
    """Look for lesions in new scans with a trained detector. Research use only.

    Every candidate is listed with its score; the thresholds that a study chose on its validation
    subjects are in its report (`tables/seeds.tsv`). Scans that are done are passed over, and those
    that cannot be used are named at the end.

    Args:
        weights: folder of a trained detector (`runs/<study>/detector/<regime>/seed-<S>`).
        scans: files (`*_T1w.nii.gz` and `*_FLAIR.nii.gz`, paired by the name before the last `_`)
            or BIDS-like folders.
        out: folder for candidates.tsv, the probability map on the T1w's grid and a page, for each
            scan.
    """
    from lesionforge.detection.new_scans import find_pairs

    pairs = find_pairs([Path(scan) for scan in scans])
    with alone(Path(out) / ".lock", Path(out), 0):
        sweep(Path(out))
        failed = [
            f"{name}: {error}"
            for name, (t1w, flair) in pairs.items()
            if (error := _detect_one(Path(weights), t1w, flair, Path(out) / name))
        ]
    if failed:
        raise DataError("Not every scan could be used:\n- " + "\n- ".join(failed))


def _detect_one(weights: Path, t1w: Path, flair: Path, folder: Path) -> Exception | None:
    """Write the candidates and the page of one scan; return what made it unusable."""
    from lesionforge.detection.new_scans import detect_scan, is_detected
    from lesionforge.report.pages import scan as scan_page

    page = folder / scan_page.PAGE
    if page.exists() and is_detected(weights, t1w, flair, folder):
        logger.info("%s is done already: %s", folder.name, page)
        return None
    page.unlink(missing_ok=True)
    logger.info("%s: %s, %s", folder.name, t1w, flair)
    try:
        scan_page.write_scan_page(detect_scan(weights, t1w, flair, folder), folder)
    except OF_ONE_SUBJECT as error:
        return error
    return None

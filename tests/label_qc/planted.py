import numpy as np


def blobs(seed=0, n=120, classes=3, flips=12):
    """Make separate blobs, some of whose labels are wrong."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    centres = rng.normal(size=(classes, 8)) * 4
    points = centres[truth] + rng.normal(size=(n, 8))
    wrong = rng.choice(n, flips, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % classes
    return points, labels, np.sort(wrong)

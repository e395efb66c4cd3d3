"""The 3D lesion detector and the regimes it is trained in."""

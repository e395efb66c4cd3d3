"""The 3D lesion detector: networks, training, prediction."""

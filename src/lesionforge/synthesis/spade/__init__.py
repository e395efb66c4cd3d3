"""The SPADE generator: network, training and use."""

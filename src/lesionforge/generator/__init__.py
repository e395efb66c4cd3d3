"""From semantic map to T1w and FLAIR: the SPADE generator, its training and its use."""

"""Training examples: excerpts of songs, their augmentation, and songs synthesised while training."""

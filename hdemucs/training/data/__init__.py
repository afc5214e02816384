"""Training examples: excerpts of songs, their augmentation, and songs synthesised during training."""

"""Training examples: excerpts, augmentation, songs synthesised while training."""

"""Music source separation with Hybrid Demucs."""

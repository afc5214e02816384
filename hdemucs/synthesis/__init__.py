"""Multitrack music synthesised from free sounds, as training data for source separation."""

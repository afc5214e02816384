"""Multitrack music made from free sounds: training data for separation."""

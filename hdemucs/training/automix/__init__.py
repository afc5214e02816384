"""Mixtures of stems from different songs that fit in tempo and key."""

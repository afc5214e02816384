"""Metrics of separation quality, on tensors."""

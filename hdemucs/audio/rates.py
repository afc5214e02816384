"""Sample rates that audio can have."""

RATES = range(1_000, 768_001)
"""Sample rates in Hz; beyond them, a header is broken: resampling 3 Hz would take days."""

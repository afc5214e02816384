"""Benchmark: methods scored on the songs of a test set, with reports, comparisons and plots."""

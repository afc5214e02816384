"""Benchmarks: methods scored on the songs of a test set, reports and plots."""

"""Optimisation: averages of weights."""

"""Instruments that turn notes into sound."""

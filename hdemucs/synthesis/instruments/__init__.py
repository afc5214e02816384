"""Instruments: notes in, stereo audio out. Each kind is a file, and `families.py` has the table of all."""

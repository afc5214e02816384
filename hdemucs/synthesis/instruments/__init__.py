"""Instruments: notes in, stereo audio out. Each kind has its own file; `families.py` lists all of them."""

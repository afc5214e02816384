"""Voices that sing: their sources, their units of speech, and the singer."""

"""Voices that sing: the table of voices, their speech, its syllables, and the singer."""

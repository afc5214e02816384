"""Forms of songs that the tests of several files write music for."""

import numpy as np

from hdemucs.synthesis.score.form import Form, make_form
from hdemucs.synthesis.score.genres import GENRES

GENRES_BY_NAME = {genre.name: genre for genre in GENRES}


def form_of(name: str = "pop", seed: int = 0) -> Form:
    """Form of a song of a genre."""
    return make_form(GENRES_BY_NAME[name], np.random.default_rng(seed))


def seconds_of(form: Form) -> float:
    """Duration of a song in seconds."""
    return form.sections[-1].bars.stop * form.grid.bar

"""Plays the soundfonts, speech programs and speech models that are installed; others are skipped.

`pytest -m sounds` runs these alone; `pytest -m sounds -rs` says which packages are missing.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.instruments.families import FAMILIES
from hdemucs.synthesis.instruments.soundfont import DRUM_BANK, Program, SoundFont, fluidsynth
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.song import STEMS, make_song
from hdemucs.synthesis.sounds import SOUNDS, Sound
from hdemucs.synthesis.voice.units import analyse
from hdemucs.synthesis.voice.voices import VOICES, Voice

pytestmark = pytest.mark.sounds


def fluidsynth_works() -> bool:
    try:
        fluidsynth()
    except SynthesisError:
        return False
    return True


needs_fluidsynth = pytest.mark.skipif(not fluidsynth_works(), reason="fluidsynth is not installed")
needs_world = pytest.mark.skipif(find_spec("pyworld") is None, reason="pyworld is not installed")


def installed(candidates: Mapping[str, tuple[object, bool]]) -> list[Any]:
    """Those that are installed, and one test that is skipped for all others."""
    here = [pytest.param(value, id=name) for name, (value, there) in candidates.items() if there]
    missing = [name for name, (_, there) in candidates.items() if not there]
    reason = f"not installed: {', '.join(missing)}"
    return here + [pytest.param(None, id="missing", marks=pytest.mark.skip(reason=reason))] * bool(missing)


FONTS = installed(
    {sound.package: (sound, sound.path.exists()) for sound in SOUNDS if sound.kind == "soundfont"}
)
SPEECH = installed({voice.name: (voice, voice.speaker.available()) for voice in VOICES})
PROGRAMS = sorted(
    {
        preset.number
        for family in FAMILIES.values()
        for preset in family.presets
        if isinstance(preset, Program)
    }
)


@needs_fluidsynth
@pytest.mark.parametrize("sound", FONTS)
def test_every_program_of_a_soundfont_is_audible_and_ends(sound: Sound):
    font = SoundFont(sound.path)
    for program in PROGRAMS:
        assert font.has(0, program), program
        audio = font.play([Note(0.1, 0.3, 60, 0.8)], 0.6, program)
        assert audio.shape == (2, round(0.6 * RATE)), program
        assert np.isfinite(audio).all(), program
        assert np.abs(audio[:, : round(0.09 * RATE)]).max() < 1e-4, program
        assert 1e-3 < np.abs(audio).max() < 4, program


@needs_fluidsynth
@pytest.mark.parametrize("sound", FONTS)
@pytest.mark.parametrize("transpose", [0, 4, -3])
def test_soundfonts_are_in_tune_and_repeatable(sound: Sound, transpose: int):
    notes = [Note(0, 1.5, 57.5, 0.8)]
    audio, again = (SoundFont(sound.path).play(notes, 2, 16, transpose=transpose) for _ in range(2))
    np.testing.assert_array_equal(audio, again)
    spectrum = np.abs(np.fft.rfft(audio.sum(axis=0)))
    ratio = np.argmax(spectrum) / 2 / (440 * 2 ** ((57.5 - 69) / 12))
    assert min(abs(ratio / harmonic - 1) for harmonic in (0.5, 1, 1.5, 2, 3, 4)) < 0.01


@needs_fluidsynth
@pytest.mark.parametrize("sound", FONTS)
def test_soundfonts_have_a_drum_kit(sound: Sound):
    font = SoundFont(sound.path)
    assert font.has(DRUM_BANK, 0)
    kick, snare = (font.play([Note(0, 0.5, key, 1)], 0.5, 0, bank=DRUM_BANK) for key in (36, 38))
    assert np.abs(kick).max() > 0.01
    assert np.abs(snare).max() > 0.01
    assert not np.array_equal(kick, snare)


@needs_world
@pytest.mark.parametrize("voice", SPEECH)
def test_a_speaker_speaks_in_syllables_and_repeats_itself(voice: Voice):
    clips = list(islice(voice.speaker.clips(), 2))
    for samples, rate in clips:
        assert samples.ndim == 1
        assert samples.dtype == np.float64
        assert np.isfinite(samples).all()
        assert 8000 <= rate <= 96000
    (samples, rate), (again, _) = clips[0], next(voice.speaker.clips())
    np.testing.assert_array_equal(samples, again)
    assert len(analyse(iter(clips), voice.name)) > 0


@needs_fluidsynth
@needs_world
@pytest.mark.slow
def test_a_song_is_made_of_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fonts = [sound for sound in SOUNDS if sound.kind == "soundfont" and sound.path.exists()]
    voices = [voice for voice in VOICES if voice.speaker.available()]
    if not fonts or not voices:
        pytest.skip("no soundfont or no voice is installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    song = make_song(
        1,
        4.0,
        voices=[replace(voices[0], held_out=False)],
        sounds=[replace(font, held_out=False) for font in fonts],
    )
    for name in STEMS:
        assert song.stems[name].shape == (2, 4 * RATE)
        assert np.isfinite(song.stems[name]).all()
    assert np.abs(song.stems["vocals"]).max() > 0.01

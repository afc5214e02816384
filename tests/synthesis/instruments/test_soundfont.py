"""Soundfonts: timing and pitch of notes, presets, and errors."""

import sys

import numpy as np
import pytest

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.instruments.soundfont import SoundFont
from hdemucs.synthesis.score.notes import RATE, Note
from tests.synthesis.tiny import write_soundfont


@pytest.fixture(params=["stand-in", pytest.param("fluidsynth", marks=pytest.mark.sounds)])
def font(request, tmp_path) -> SoundFont:
    """A soundfont, played by the stand-in and, where it is installed, by fluidsynth itself."""
    if request.param == "stand-in":
        request.getfixturevalue("tiny_fluidsynth")
    else:
        pytest.importorskip("fluidsynth", reason="fluidsynth is not installed", exc_type=ImportError)
    return SoundFont(write_soundfont(tmp_path / "tiny.sf2"))


def pitch_of(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum)) * RATE / len(audio)


def test_presets_are_read_from_the_file(font):
    assert font.has(0, 33)
    assert font.has(128, 0)
    assert not font.has(0, 34)


def test_notes_start_and_end_on_time(font):
    audio = font.play([Note(0.5, 0.25, 69, 0.8)], 1.2, 0)
    assert audio.shape == (2, round(1.2 * RATE))
    assert audio.dtype == np.float32
    loud = np.flatnonzero(np.abs(audio[0]) > 1e-3) / RATE
    assert loud[0] == pytest.approx(0.5, abs=0.003)
    assert loud[-1] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("transpose", [0, 4, -3])
@pytest.mark.parametrize("pitch", [69, 69.5])
def test_transposed_keys_are_bent_back_to_the_pitch(font, pitch, transpose):
    # Ten cents: the sample is 4 cents sharp, and fluidsynth bends by 127/128 of what is asked for.
    audio = font.play([Note(0, 1, pitch, 0.8)], 1, 0, transpose=transpose)
    assert pitch_of(audio[0]) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), rel=0.006)


def test_notes_outside_the_window_or_the_keyboard_are_skipped(font):
    assert not font.play([Note(-1, 0.5, 60, 1), Note(2, 1, 60, 1), Note(0, 1, 300, 1)], 1, 0).any()


@pytest.mark.usefixtures("tiny_fluidsynth")
def test_another_file_is_rejected(tmp_path):
    path = tmp_path / "other.sf2"
    path.write_bytes(b"nothing")
    with pytest.raises(SynthesisError, match=r"other\.sf2: not a soundfont .* reinstall"):
        SoundFont(path).play([], 1, 0)


def test_a_missing_library_is_reported_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "fluidsynth.py").write_text('raise ImportError("Couldn\'t find the FluidSynth library.")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    with pytest.raises(SynthesisError, match=r"pip install .* apt-get install libfluidsynth3"):
        SoundFont(write_soundfont(tmp_path / "tiny.sf2")).play([], 1, 0)

import sys

import numpy as np
import pytest

from hdemucs.errors import TrainingError
from hdemucs.synthesis.instruments import soundfont
from hdemucs.synthesis.instruments.soundfont import SoundFont
from hdemucs.synthesis.score.notes import RATE, Note
from tests.synthesis.tiny import FLUIDSYNTH, write_soundfont


@pytest.fixture
def font(tmp_path, monkeypatch):
    monkeypatch.setattr(soundfont, "_fluidsynth", lambda: FLUIDSYNTH)
    soundfont._write_float.cache_clear()
    yield SoundFont(write_soundfont(tmp_path / "tiny.sf2"))
    soundfont._write_float.cache_clear()


def pitch_of(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum)) * RATE / len(audio)


def test_the_presets_of_a_file_are_known_without_playing_it(font):
    assert font.has(0, 33)
    assert font.has(128, 0)
    assert not font.has(0, 34)


def test_notes_sound_when_they_should(font):
    audio = font.play([Note(0.5, 0.25, 69, 0.8)], 1.2, 0)
    assert audio.shape == (2, round(1.2 * RATE))
    assert audio.dtype == np.float32
    loud = np.flatnonzero(np.abs(audio[0]) > 1e-3) / RATE
    assert loud[0] == pytest.approx(0.5, abs=0.003)
    assert loud[-1] == pytest.approx(0.75, abs=0.003)


@pytest.mark.parametrize("transpose", [0, 4, -3])
@pytest.mark.parametrize("pitch", [69, 69.5])
def test_other_samples_sound_at_the_same_pitch(font, pitch, transpose):
    audio = font.play([Note(0, 1, pitch, 0.8)], 1, 0, transpose=transpose)
    assert pitch_of(audio[0]) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), rel=0.003)


def test_notes_outside_are_left_out(font):
    assert not font.play([Note(-1, 0.5, 60, 1), Note(2, 1, 60, 1), Note(0, 1, 300, 1)], 1, 0).any()


def test_a_file_that_is_no_soundfont_is_refused(tmp_path, font):
    path = tmp_path / "other.sf2"
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"other\.sf2: is no soundfont"):
        SoundFont(path).play([], 1, 0)


def test_a_missing_fluidsynth_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(TrainingError, match="apt-get install libfluidsynth3"):
        SoundFont(write_soundfont(tmp_path / "tiny.sf2")).play([], 1, 0)

"""The singer, with a synthetic voice: what it sings is in tune, in time and free of clicks."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import pyworld
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, lfilter, sosfilt

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.voice import units as voice_units
from hdemucs.synthesis.voice.ensemble import choir, doubles, harmony, scale_of
from hdemucs.synthesis.voice.lyrics import phrases_of
from hdemucs.synthesis.voice.singer import LEVEL, in_range, sing
from hdemucs.synthesis.voice.speakers import Recordings
from hdemucs.synthesis.voice.styles import SINGING_STYLES
from hdemucs.synthesis.voice.voices import Voice

SPEECH_RATE = 16000
SPEECH_PITCH = 120.0
SYLLABLES = 6
MELODY = [Note(0.5, 0.5, 55, 0.8), Note(1.0, 1.0, 59, 0.8), Note(2.6, 0.9, 57, 0.6)]
SECONDS = 4.0


def resonance(samples: np.ndarray, frequency: float, width: float) -> np.ndarray:
    radius = np.exp(-np.pi * width / SPEECH_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / SPEECH_RATE), radius**2]
    return lfilter([sum(poles)], poles, samples)


def recorded(folder: Path) -> Voice:
    return Voice(folder.name, "", "", "your own", False, Recordings(str(folder), limit=None))


def speech(rng: np.random.Generator) -> np.ndarray:
    """Syllables of a fricative and a vowel at SPEECH_PITCH, with 0.3 s of silence before and after."""
    hiss_band = butter(4, 4500, "highpass", fs=SPEECH_RATE, output="sos")
    parts = [np.zeros(int(0.3 * SPEECH_RATE))]
    for first, second in zip(
        rng.uniform(350, 750, SYLLABLES), rng.uniform(1000, 2200, SYLLABLES), strict=True
    ):
        times = np.arange(int(0.25 * SPEECH_RATE)) / SPEECH_RATE
        pulses = np.diff(np.floor(times * SPEECH_PITCH), prepend=0.0)
        vowel = resonance(resonance(resonance(pulses, first, 80), second, 120), 2800, 200)
        vowel *= np.hanning(len(vowel)) ** 0.25 / np.abs(vowel).max()
        hiss = sosfilt(hiss_band, rng.standard_normal(int(0.09 * SPEECH_RATE)))
        parts += [0.15 * hiss * np.hanning(len(hiss)), 0.5 * vowel, np.zeros(int(0.02 * SPEECH_RATE))]
    return np.concatenate([*parts, np.zeros(int(0.3 * SPEECH_RATE))])


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        voices = tmp_path_factory.mktemp("voices")
        (voices / "robin").mkdir()
        for take in range(2):
            samples = speech(np.random.default_rng(take))
            soundfile.write(voices / "robin" / f"{take}.wav", samples, SPEECH_RATE, subtype="FLOAT")
        yield voices


@pytest.fixture(scope="module")
def robin(folder) -> Voice:
    return recorded(folder / "robin")


@pytest.fixture(scope="module")
def line(robin) -> np.ndarray:
    return sing(MELODY, SECONDS, robin, np.random.default_rng(3))


def tracked(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch as MIDI numbers `[frames]`, NaN where unvoiced, and the times of frames in seconds."""
    pitch, times = pyworld.harvest(samples.astype(np.float64), RATE, f0_floor=70, f0_ceil=800)
    return 69 + 12 * np.log2(np.where(pitch > 0, pitch, np.nan) / 440), times


def level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20))


def between(samples: np.ndarray, start: float, stop: float) -> np.ndarray:
    return samples[round(start * RATE) : round(stop * RATE)]


def above(samples: np.ndarray, frequency: float) -> np.ndarray:
    return sosfilt(butter(6, frequency, "highpass", fs=RATE, output="sos"), samples)


def test_voices_can_be_sent_to_worker_processes(robin):
    assert pickle.loads(pickle.dumps(robin)) == robin


def test_syllables_include_the_consonants_before_the_vowel(robin):
    units = robin.units()
    onset, vowel, coda = np.diff(units.spans, axis=1).T / voice_units.FRAME_RATE
    assert len(units) == 2 * SYLLABLES
    assert abs(440 * 2 ** ((units.home - 69) / 12) - SPEECH_PITCH) < 3
    assert np.median(onset) > 0.05, "the fricative before a vowel belongs to its syllable"
    assert 0.15 < np.median(vowel) < 0.27
    assert np.median(coda) < 0.05


def test_analyses_are_cached_until_recordings_change(robin, monkeypatch):
    cached = robin.units().envelope

    def refuse(*_):
        raise AssertionError("analysed again")

    monkeypatch.setattr(voice_units, "analyse", refuse)
    voice_units.load_units.cache_clear()
    np.testing.assert_array_equal(robin.units().envelope, cached)
    voice_units.load_units.cache_clear()
    other = Path(robin.speaker.folder) / "2.wav"
    soundfile.write(other, np.zeros(8000), SPEECH_RATE)
    with pytest.raises(AssertionError, match="again"):
        robin.units()
    other.unlink()


def test_speech_without_syllables_is_rejected(tmp_path):
    for name, samples in (
        ("quiet", np.zeros(8000)),
        ("noise", np.random.default_rng(0).normal(0, 0.1, 8000)),
    ):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "0.wav", samples, SPEECH_RATE)
        with pytest.raises(SynthesisError, match=f"voice {name}: no syllables"):
            recorded(tmp_path / name).units()


def test_a_file_that_is_not_audio_is_named(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "lyrics.wav").write_text("la la la")
    with pytest.raises(SynthesisError, match=r"recording of speech .*lyrics\.wav"):
        recorded(tmp_path / "text").units()


def test_a_line_has_its_length_and_level(line):
    assert line.shape == (round(SECONDS * RATE),)
    assert line.dtype == np.float32
    assert np.abs(line).max() <= 1
    sung = np.concatenate([between(line, note.start, note.start + note.duration) for note in MELODY])
    assert abs(level(sung) - LEVEL) < 1.5


def test_notes_are_in_tune_and_in_time(line):
    pitch, times = tracked(line)
    for note in MELODY:
        held = (times > note.start + 0.12) & (times < note.start + note.duration - 0.1)
        error = np.nanmedian(pitch[held]) - note.pitch
        assert abs(error) < 0.5, f"{note} is sung {error:+.2f} semitones off"
        assert np.isfinite(pitch[held]).mean() > 0.9
    voiced = times[np.isfinite(pitch)]
    assert abs(voiced.min() - MELODY[0].start) < 0.04, "the vowel is on the beat"


def test_rests_are_silent(line):
    assert level(between(line, 2.05, 2.1)) < -60
    assert level(between(line, 3.7, SECONDS)) < -60


def test_no_notes_are_silence(robin):
    silence = sing([], 1.0, robin, np.random.default_rng(0))
    assert silence.shape == (RATE,)
    assert not silence.any()


def test_consonants_come_before_the_beat(robin, line):
    hummed = sing(MELODY, SECONDS, robin, np.random.default_rng(3), style="vowels")
    hiss = [level(above(between(take, 0.42, 0.49), 5000)) for take in (line, hummed)]
    assert hiss[0] > hiss[1] + 15


def test_the_band_is_full_though_the_speech_is_not(line):
    hiss = between(line, 0.4, 0.5)
    assert level(above(hiss, 10000)) > level(hiss) - 20
    assert level(above(line, 10000)) > level(line) - 55


def test_lines_have_no_clicks(line):
    steps = np.abs(np.diff(line.astype(np.float64)))
    windows = steps[: len(steps) // 1024 * 1024].reshape(-1, 1024)
    usual = np.percentile(windows, 98, axis=1)
    assert (windows.max(axis=1) / np.maximum(usual, 1e-3)).max() < 8


def test_a_seed_gives_one_take(robin, line):
    again, other = (sing(MELODY, SECONDS, robin, np.random.default_rng(seed)) for seed in (3, 4))
    np.testing.assert_array_equal(again, line)
    assert np.abs(other - line).max() > 0.01


@pytest.mark.parametrize("style", SINGING_STYLES)
def test_every_style_is_audible(robin, style):
    sung = sing(MELODY[:2], 2.2, robin, np.random.default_rng(1), style=style)
    assert np.isfinite(sung).all()
    assert level(between(sung, 0.5, 1.9)) > LEVEL - 8


def test_an_unknown_style_is_rejected(robin):
    with pytest.raises(SynthesisError, match=r"yodelled.*sung"):
        sing(MELODY, 1.0, robin, np.random.default_rng(0), style="yodelled")


def test_speech_keeps_its_own_pitch(robin):
    spoken = sing([Note(0.3, 1.4, 72, 0.8)], 2.0, robin, np.random.default_rng(2), style="spoken")
    pitch, _ = tracked(spoken)
    assert abs(np.nanmedian(pitch) - robin.units().home) < 2


def test_rap_follows_its_notes_in_part(robin):
    notes = [Note(0.3, 0.4, 50, 0.8), Note(0.7, 0.4, 62, 0.8)]
    pitch, times = tracked(sing(notes, 1.2, robin, np.random.default_rng(2), style="rapped"))
    low, high = (np.nanmedian(pitch[(times > start) & (times < start + 0.3)]) for start in (0.35, 0.75))
    assert 1.5 < high - low < 5


def test_effort_brightens(robin):
    soft, loud = (
        sing([Note(0.2, 1.5, 57, velocity)], 2.0, robin, np.random.default_rng(5), lyrics=1)
        for velocity in (0.3, 1.0)
    )
    shares = [
        level(above(between(take, 0.4, 1.5), 2000)) - level(between(take, 0.4, 1.5)) for take in (soft, loud)
    ]
    assert shares[1] > shares[0] + 4


def test_formants_can_be_shifted(robin):
    def centre(factor: float) -> float:
        held = between(
            sing([Note(0.2, 1.5, 50, 0.8)], 2.0, robin, np.random.default_rng(5), formants=factor, lyrics=1),
            0.5,
            1.5,
        )
        power = np.abs(np.fft.rfft(held))[: len(held) // 2] ** 2
        frequencies = np.fft.rfftfreq(len(held), 1 / RATE)[: len(power)]
        return float(np.sum(power * frequencies) / np.sum(power))

    assert centre(1.25) > 1.08 * centre(0.85)


def test_melodies_are_moved_into_range_by_octaves(robin):
    moved = in_range([Note(0, 1, 81, 0.5), Note(1, 1, 84, 0.5)], robin)
    assert [note.pitch for note in moved] in ([57, 60], [45, 48])
    assert in_range([], robin) == []


def test_harmonies_stay_in_the_scale():
    melody = [Note(index, 1, pitch, 0.8) for index, pitch in enumerate([60, 62, 64, 65, 67, 69, 71])]
    assert scale_of(melody) == (0, 2, 4, 5, 7, 9, 11)
    assert [note.pitch for note in harmony(melody, 2)] == [64, 65, 67, 69, 71, 72, 74]
    assert [note.pitch for note in harmony(melody, -3)] == [55, 57, 59, 60, 62, 64, 65]
    assert [note.pitch for note in harmony(melody, 7)] == [note.pitch + 12 for note in melody]


def test_doubles_and_choirs_are_stereo(robin):
    rng = np.random.default_rng(7)
    pair = doubles(MELODY[:2], 2.2, robin, rng, lyrics=5)
    many = choir(MELODY[:2], 2.2, [robin], rng, size=3)
    for mix in (pair, many):
        assert mix.shape == (2, round(2.2 * RATE))
        assert mix.dtype == np.float32
        assert abs(np.corrcoef(mix)[0, 1]) < 0.9
        assert abs(level(mix[0]) - level(mix[1])) < 6
        assert level(mix[:, round(0.5 * RATE) : round(1.9 * RATE)]) > LEVEL - 8


notes_lists = st.lists(
    st.builds(
        Note,
        start=st.floats(-1, 6),
        duration=st.floats(0.01, 3),
        pitch=st.floats(40, 80),
        velocity=st.floats(0, 1),
    ),
    max_size=12,
)


@given(notes_lists)
@settings(deadline=None)
def test_notes_of_phrases_do_not_overlap(notes):
    line = [note for phrase in phrases_of(notes, 5.0) for note in phrase]
    ends = [note.start + note.duration for note in line]
    assert all(after.start >= end - 1e-9 for end, after in zip(ends, line[1:], strict=False))
    assert all(note.start >= 0 and end <= 5.0 + 1e-9 for note, end in zip(line, ends, strict=True))
    assert all(phrases_of(notes, 5.0))


@given(notes_lists, st.floats(0.05, 3), st.sampled_from(["sung", "rapped", "spoken", "vowels"]))
@settings(deadline=None, max_examples=25)
def test_any_notes_can_be_sung(robin, notes, seconds, style):
    sung = sing(notes, seconds, robin, np.random.default_rng(0), style=style)
    assert sung.shape == (round(seconds * RATE),)
    assert np.isfinite(sung).all()
    assert np.abs(sung).max(initial=0) <= 1

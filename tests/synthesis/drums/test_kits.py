from pathlib import Path

import numpy as np
import pytest
import soundfile

from hdemucs.errors import AudioError, SynthesisError
from hdemucs.synthesis.drums.kits import DRUMS, classify, load_kit
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.sounds import Sound
from tests.synthesis.tiny import write_kit


def recorded(folder: Path, kind: str = "kit") -> Sound:
    return Sound("bursts", kind, folder, "tiny-kit", "CC0-1.0", "here", "acoustic")


def burst(rate: int, channels: int) -> np.ndarray:
    """Noise that decays within a tenth of a second, `[length, channels]`."""
    decay = np.exp(-np.arange(rate // 2) / (0.02 * rate))
    return 0.5 * np.random.default_rng(0).uniform(-1, 1, (rate // 2, channels)) * decay[:, None]


@pytest.mark.parametrize(
    ("name", "drum"),
    [
        ("Kick (Tama 22)", "kick"),
        ("bass drum 2", "kick"),
        ("bd_haus", "kick"),
        ("Snare Rimshot", "rim"),
        ("Snare Jazz", "snare"),
        ("sn_dub", "snare"),
        ("Closed HH", "closed"),
        ("hi-hat open", "open"),
        ("Hat Pedal", "pedal"),
        ("low tom", "low tom"),
        ("Tom Mid", "mid tom"),
        ("crash16inch", "crash"),
        ("Zap 1", None),
    ],
)
def test_drums_are_recognised_by_name(name, drum):
    assert classify(name) == drum


def test_the_strokes_of_a_recorded_drum_are_sorted_from_soft_to_hard(tmp_path):
    kit = load_kit(recorded(write_kit(tmp_path / "kit")), 0, {"kick", "crash", "shaker"})
    assert set(kit) == {"kick", "crash"}
    soft, hard = (float(np.abs(stroke).max()) for stroke in kit["kick"])
    assert hard == pytest.approx(1, abs=1e-3)
    assert soft < 0.4


def test_a_kit_without_a_snare_is_rejected(tmp_path):
    folder = write_kit(tmp_path / "kit")
    text = (folder / "drumkit.xml").read_text()
    (folder / "drumkit.xml").write_text(text.replace("Snare", "Gong"))
    with pytest.raises(SynthesisError, match="has no snare; reinstall the package tiny-kit"):
        load_kit(recorded(folder), 0, {"kick"})


def test_a_damaged_file_is_reported(tmp_path):
    folder = write_kit(tmp_path / "kit")
    (folder / "Snare-0.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"Snare-0\.wav"):
        load_kit(recorded(folder), 0, {"kick"})


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (RATE, 3), (48000, 2), (22050, 1)])
def test_recordings_become_stereo_at_the_common_rate(tmp_path, rate, channels):
    folder = write_kit(tmp_path / "kit")
    for file in folder.glob("Kick-*.wav"):
        soundfile.write(file, burst(rate, channels), rate, "FLOAT")
    stroke = load_kit(recorded(folder), 0, {"kick"})["kick"][-1]
    assert stroke.dtype == np.float32
    assert stroke.shape[0] == 2
    assert 0.1 * RATE < stroke.shape[1] < 0.2 * RATE
    assert (stroke[0] == stroke[1]).all() == (channels == 1)
    assert np.abs(stroke).max() == pytest.approx(1, abs=1e-3)


def test_samples_at_the_common_rate_are_only_scaled(tmp_path):
    folder = write_kit(tmp_path / "kit")
    samples = burst(RATE, 2).astype(np.float32)
    for file in folder.glob("Kick-*.wav"):
        soundfile.write(file, samples, RATE, "FLOAT")
    stroke = load_kit(recorded(folder), 0, {"kick"})["kick"][0]
    np.testing.assert_array_equal(stroke[:, :2000], samples[:2000].T / np.abs(samples).max())


def test_one_shots_are_all_as_loud(tmp_path):
    for index, name in enumerate(("bd_a", "bd_b", "sn_a", "drum_cymbal_closed", "drum_roll", "loop_kick")):
        soundfile.write(tmp_path / f"{name}.flac", burst(RATE, 1) / (index + 1), RATE)
    kit = load_kit(recorded(tmp_path, "one-shots"), 0, DRUMS)
    assert {drum: len(strokes) for drum, strokes in kit.items()} == {"kick": 2, "snare": 1, "closed": 1}
    for strokes in kit.values():
        assert all(np.abs(stroke).max() == pytest.approx(1, abs=1e-3) for stroke in strokes)

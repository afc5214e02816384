"""The table of voices, and reading recorded speech."""

import av
import numpy as np
import pytest
import soundfile

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.voice.babble import LETTERS, PHONEMES, babble
from hdemucs.synthesis.voice.speakers import Recordings
from hdemucs.synthesis.voice.voices import PROVENANCE, VOICES, find_voices, install_hint

RATE = 16000


def tone() -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)


def test_copyleft_speech_is_held_out():
    for row in PROVENANCE.values():
        assert row.held_out or not any(word in row.licence for word in ("GPL", "SA", "NC"))
    assert {voice.licence for voice in VOICES} == {row.licence for row in PROVENANCE.values()}


def test_names_of_voices_are_unique():
    names = [voice.name for voice in VOICES]
    assert len(names) == len(set(names))


def test_installed_voices_are_in_the_order_of_the_table():
    found = find_voices()
    assert found == [voice for voice in VOICES if voice in found]


def test_the_hint_installs_what_may_be_trained_on():
    assert "klettres" not in install_hint()
    assert "flite" in install_hint()


@pytest.mark.parametrize("inventory", [LETTERS, *PHONEMES.values()])
def test_a_seed_gives_one_set_of_phrases(inventory):
    first, again = ([*babble(inventory, 3, np.random.default_rng(2), stress="'")] for _ in range(2))
    assert first == again
    assert len(set(first)) == 3
    assert all(word.startswith("'") for phrase in first for word in phrase.split())


def test_recordings_are_mixed_to_mono_and_keep_their_samples(tmp_path):
    stereo = np.stack([tone(), 0.5 * tone()], axis=1)
    soundfile.write(tmp_path / "take.wav", stereo, RATE, subtype="PCM_16")
    ((samples, rate),) = Recordings(str(tmp_path)).clips()
    assert rate == RATE
    np.testing.assert_array_equal(samples, soundfile.read(tmp_path / "take.wav")[0].mean(axis=1))


def test_telephone_prompts_are_read(tmp_path):
    with av.open(str(tmp_path / "vm-prompt.g722"), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone() * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    ((samples, rate),) = Recordings(str(tmp_path), "vm-*.g722").clips()
    assert rate == RATE
    assert len(samples) == pytest.approx(RATE, abs=4)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_recordings_are_picked_evenly_and_resampled(tmp_path):
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", np.full(800, number / 10), 8000, subtype="FLOAT")
    clips = list(Recordings(str(tmp_path), limit=3, rate=4000).clips())
    assert [round(10 * float(samples[200])) for samples, _ in clips] == [0, 2, 4]
    assert [(len(samples), rate) for samples, rate in clips] == [(400, 4000)] * 3


def test_a_damaged_recording_is_named(tmp_path):
    (tmp_path / "cut.wav").write_bytes(b"RIFF")
    with pytest.raises(SynthesisError, match=r"recording of speech cannot be used: .*cut\.wav"):
        list(Recordings(str(tmp_path)).clips())

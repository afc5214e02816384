"""Songs of a test set: found in any layout, and read."""

from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs.datasets import STEM_STREAMS, align_lengths, find_songs, ordered_sources
from hdemucs.errors import AudioError
from tests.audio.signals import encode_libav, noise, tones

RATE = 8000


def write_song(folder: Path, *names: str, length: int = RATE) -> dict[str, Tensor]:
    """Write stems of noise in float, so that reading loses nothing."""
    stems = {name: noise(length, seed=seed) for seed, name in enumerate(names)}
    folder.mkdir(parents=True)
    for name, stem in stems.items():
        soundfile.write(folder / f"{name}.wav", stem.T.numpy(), RATE, subtype="FLOAT")
    return stems


def test_songs_are_found_in_test_or_in_the_folder_itself(tmp_path: Path):
    for name in ("B", "A", ".hidden"):
        write_song(tmp_path / "test" / name, "vocals", "drums")
    write_song(tmp_path / "train" / "C", "vocals")
    (tmp_path / "test" / "without stems").mkdir()
    for folder in (tmp_path, tmp_path / "test"):
        assert [(song.name, song.sources) for song in find_songs(folder)] == [
            ("A", ["drums", "vocals"]),
            ("B", ["drums", "vocals"]),
        ]


def test_folders_without_songs_are_rejected(tmp_path: Path):
    with pytest.raises(AudioError, match=r"has no songs, .*; download MusDB-HQ from https://zenodo"):
        find_songs(tmp_path)
    with pytest.raises(AudioError, match="nowhere is not a folder; download MusDB-HQ"):
        find_songs(tmp_path / "nowhere")


def test_references_are_the_stems_in_the_order_asked_for(tmp_path: Path):
    stems = write_song(tmp_path / "A", "vocals", "drums")
    (song,) = find_songs(tmp_path)
    assert song.sample_rate == RATE
    assert torch.equal(song.references(["vocals", "drums"]), torch.stack(list(stems.values())))
    assert song.references(["drums"], 2 * RATE, channels=1).shape == (1, 1, 2 * RATE)
    with pytest.raises(AudioError, match="A has no bass, other, only drums, vocals"):
        song.references(["bass", "drums", "other"])


def test_the_mixture_is_the_sum_of_the_stems_unless_it_has_a_file(tmp_path: Path):
    stems = write_song(tmp_path / "A", "vocals", "drums")
    (song,) = find_songs(tmp_path)
    torch.testing.assert_close(song.read("mixture"), stems["vocals"] + stems["drums"])
    mixture = write_song(tmp_path / "B", "mixture", "drums")["mixture"]
    assert torch.equal(find_songs(tmp_path)[1].read("mixture"), mixture)


def test_musdb18_stem_files_hold_the_mixture_and_four_stems(tmp_path: Path):
    signals = [tones(44100, 1.0, 2, 200.0 + 100 * stream) for stream in range(5)]
    encode_libav(tmp_path / "A Song.stem.mp4", signals, 44100, "aac", "mp4")
    (song,) = find_songs(tmp_path)
    assert (song.name, song.sources) == ("A Song", sorted(STEM_STREAMS[1:]))
    for name, written in zip(STEM_STREAMS, signals, strict=True):
        read = song.read(name)
        length = min(read.shape[-1], written.shape[-1])
        assert torch.corrcoef(torch.stack([read[0, :length], written[0, :length]]))[0, 1] > 0.9, name


def test_lengths_are_aligned_within_a_tenth_of_a_second():
    signals = [noise(RATE), noise(RATE + RATE // 10)]
    assert align_lengths("A", signals, RATE).shape == (2, 2, RATE)
    with pytest.raises(AudioError, match=r"A: signals have different lengths \(1.00, 1.10 s\)"):
        align_lengths("A", [noise(RATE), noise(RATE + RATE // 10 + 1)], RATE)


def test_sources_are_in_the_order_of_musdb_then_by_name(tmp_path: Path):
    write_song(tmp_path / "A", "vocals", "piano", "mixture")
    write_song(tmp_path / "B", "drums", "banjo")
    assert ordered_sources(find_songs(tmp_path)) == ["drums", "vocals", "banjo", "piano"]

"""Songs with stems on disk: layouts, mixtures and MusDB18's files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hdemucs.datasets.songs import STEM_STREAMS, find_songs
from hdemucs.errors import AudioError
from tests.audio.signals import encode_libav
from tests.evaluation.songs import RATE, SOURCES, stems, write_song


def test_layouts(tmp_path: Path) -> None:
    musdb = tmp_path / "musdb"
    for index, seconds in enumerate((0.5, 1.0, 0.7)):
        write_song(musdb / "test" / f"Song [{index}]", seconds, index)
    (musdb / "train" / "Other").mkdir(parents=True)
    assert [song.name for song in find_songs(musdb)] == ["Song [0]", "Song [1]", "Song [2]"]
    assert [song.name for song in find_songs(musdb / "test")] == ["Song [0]", "Song [1]", "Song [2]"]
    song = find_songs(musdb)[1]
    assert song.sources == SOURCES
    assert song.sample_rate == RATE
    assert song.references(["vocals", "drums"]).shape == (2, 2, RATE)
    with pytest.raises(AudioError, match="no songs"):
        find_songs(musdb / "train")
    with pytest.raises(AudioError, match="zenodo"):
        find_songs(tmp_path / "nowhere")


def test_the_mixture_is_the_sum_of_the_stems_if_it_has_no_file(tmp_path: Path) -> None:
    write_song(tmp_path / "with", 1, 0)
    write_song(tmp_path / "without", 1, 0, mixture=False)
    one, two = find_songs(tmp_path)
    assert torch.allclose(one.read("mixture"), two.read("mixture"), atol=1e-6)


def test_musdb18_stem_files(tmp_path: Path) -> None:
    """Five streams: the mixture and four stems, lossy."""
    signals = stems(2, 0)
    streams = {"mixture": sum(signals.values()), **signals}
    path = tmp_path / "test" / "A Song.stem.mp4"
    path.parent.mkdir()
    in_order = [
        torch.from_numpy(np.asarray(streams[name]).T).float() if name in streams else torch.zeros(2, 2 * RATE)
        for name in STEM_STREAMS
    ]
    encode_libav(path, in_order, RATE, "aac", "mp4")
    (song,) = find_songs(tmp_path)
    assert (song.name, song.sources) == ("A Song", ["bass", "drums", "other", "vocals"])
    for name in streams:
        read, written = song.read(name), in_order[STEM_STREAMS.index(name)]
        length = min(read.shape[-1], written.shape[-1])
        correlation = torch.corrcoef(torch.stack([read[0, :length], written[0, :length]]))[0, 1]
        assert correlation > 0.9, name

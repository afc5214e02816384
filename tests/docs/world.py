"""Local stand-ins for what the examples of the documentation name: songs, models, and a short training."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hdemucs.checkpoint import save
from hdemucs.pretrained import DEFAULT_MODEL, Card, ModelFile, cards
from tests.audio.signals import encode_libav, noise, tones
from tests.conftest import tiny_network
from tests.pretrained.server import FileServer
from tests.training.songs import write_song

RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")

SHORT = (
    "epochs=1",
    "steps_per_epoch=1",
    "batch_size=2",
    "accumulate=1",
    "precision=no",
    "device=cpu",
    "excerpts.segment=0.5",
    "excerpts.shift=0",
    "excerpts.workers=0",
    "augment.remix_group=0",
    "augment.repitch.probability=0",
    "penalty.weight=0",
    "averages.per_batch=[]",
    "averages.per_epoch=[]",
    "synthesis.seconds=1",
    "synthesis.songs=0",
)
"""Settings that end any training after one step; the last one of a key wins."""

SMALL = ("model.channels=4", "model.depth=4", "model.n_fft=1024", "model.segment=1")
"""For a training from scratch: a network that has no weight to speak of."""


def write_world(folder: Path) -> None:
    """Write everything that the examples read into a folder."""
    sound = tones(RATE, 1.5) + noise(round(1.5 * RATE))
    (folder / "album").mkdir()
    for name in ("live.wav", "song.mp3", "one.flac", "album/first.flac", "album/second.mp3"):
        soundfile.write(folder / name, sound.T.numpy(), RATE)
    for name in ("song.m4a", "two.m4a"):
        encode_libav(folder / name, [sound], RATE, "aac", "ipod")
    save(tiny_network(sample_rate=RATE), folder / "my_model.safetensors")
    for number in range(3):
        write_beats(folder / "songs" / "train" / f"song {number}", 100 + 2 * number)
        write_song(folder / "piano_songs" / f"song {number}", number, 1.5, ("piano", "rest"), RATE)
        write_song(folder / "musdb18hq" / "train" / f"song {number}", number, 1.5, STEMS, RATE)
    # Scoring takes a second a song, however short.
    write_song(folder / "heldout" / "song 3", 3, 1.1, STEMS, RATE)
    for copy in ("musdb18hq/test", "their_stems"):
        shutil.copytree(folder / "heldout", folder / copy)


def write_beats(folder: Path, tempo: float) -> None:
    """Write a song of 6 s, in which each stem begins anew at every beat: remixes match tempo and key."""
    time = np.arange(6 * RATE) / RATE
    decay = np.exp(-15 * (time % (60 / tempo)))
    folder.mkdir(parents=True)
    for number, stem in enumerate(STEMS):
        sound = np.sin(2 * np.pi * 110 * 2**number * time)
        if stem == "drums":
            sound = np.random.default_rng(0).normal(0, 0.5, len(time))
        soundfile.write(folder / f"{stem}.wav", 0.4 * decay * sound, RATE)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Card]]:
    """The cards of all models, of which those on the web are tiny ones on a server of this machine."""
    path = tmp_path_factory.mktemp("registry") / "tiny.safetensors"
    save(tiny_network(sample_rate=RATE), path)
    body = path.read_bytes()
    server = FileServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def moved(card: Card) -> Card:
        if card.name == DEFAULT_MODEL:
            return card
        names = [Path(file.name).with_suffix(".safetensors").name for file in card.files]
        checksum = hashlib.sha256(body).hexdigest()
        files = tuple(ModelFile(server.add(f"/{name}", body), checksum, len(body)) for name in names)
        renamed = None if card.file_sources is None else STEMS
        return replace(card, files=files, segment=1.0, file_sources=renamed)

    yield {card.name: moved(card) for card in cards()}
    server.closing.set()
    server.shutdown()
    server.server_close()

"""Remixes: beats and keys of songs, stems matched by them, and new songs rendered from these."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs.datasets import Song, find_songs, scan
from hdemucs.errors import OptionError, TrainingError
from hdemucs.training.automix import analysis as automix_analysis
from hdemucs.training.automix import automix
from hdemucs.training.automix.analysis import Analysis, analyse, analyse_once, fit_beats
from hdemucs.training.automix.plan import MAX_PITCH, MAX_TEMPO, best_pitch, plan_remix

RATE = 22050
SOURCES = ["bass", "drums", "other", "vocals"]
BASS_LINE = [33, 33, 36, 40, 38, 38, 33, 40]
"""MIDI notes in A minor, one for each beat."""


def on_beats(sounds: Sequence[np.ndarray], bpm: float, seconds: float, first: float) -> np.ndarray:
    """A signal in which the sounds follow each other, one on every beat."""
    signal = np.zeros(int(seconds * RATE))
    for beat in range(int((seconds - first) * bpm / 60)):
        start = round((first + beat * 60 / bpm) * RATE)
        sound = sounds[beat % len(sounds)][: len(signal) - start]
        signal[start : start + len(sound)] += sound
    return signal


def pluck(note: int, level: float, seconds: float = 0.3) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    frequency = 440 * 2 ** ((note - 69) / 12)
    tone = sum(np.sin(2 * np.pi * frequency * k * time) / k for k in (1, 2, 3))
    return level * tone * np.exp(-6 * time) * np.minimum(1, time / 0.003)


def drum() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.3, 2000)
    return noise * np.exp(-np.arange(2000) / 300)


def write_song(folder: Path, bpm: float, key: int = 0, first: float = 0.4, seconds: float = 26) -> None:
    """Write stems with one sound on every beat, `key` semitones above A minor."""
    lines = {"bass": (0, 0.25), "other": (24, 0.15), "vocals": (36, 0.1)}
    stems = {"drums": on_beats([drum()], bpm, seconds, first)}
    for source, (octaves, level) in lines.items():
        notes = [pluck(note + key + octaves, level) for note in BASS_LINE]
        stems[source] = on_beats(notes, bpm, seconds, first)
    folder.mkdir(parents=True)
    for source, stem in stems.items():
        soundfile.write(folder / f"{source}.wav", np.stack([stem, 0.8 * stem], 1), RATE, subtype="FLOAT")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four songs that match each other: near 100 BPM or twice that, and within three semitones."""
    folder = tmp_path_factory.mktemp("songs")
    write_song(folder / "train" / "a", 100, 0)
    write_song(folder / "train" / "b", 108, 2, first=0.7)
    write_song(folder / "train" / "c", 94, -1, first=0.25)
    write_song(folder / "train" / "d", 202, 1)
    return folder


@pytest.fixture(scope="module")
def mixed(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mixed")
    report = automix([songs], out, songs=4, seconds=15)
    assert [path.name for path in report.written] == [f"remix_0_0000{number}" for number in range(4)]
    assert not report.kept
    assert not report.problems
    return out


def steady(bpm: float, seconds: float = 100, key: int = 0, sources: Sequence[str] = SOURCES) -> Analysis:
    """Analysis of a song with a steady beat."""
    beats = list(np.arange(0.3, seconds, 60 / bpm))
    chroma = np.roll([0.4, 0, 0.1, 0.2, 0, 0.2, 0, 0.1, 0, 0, 0, 0], key).tolist()
    return Analysis(f"{bpm}", seconds, beats, chroma, {source: [0.1] * int(seconds) for source in sources})


def envelope(signal: Tensor) -> np.ndarray:
    return librosa.onset.onset_strength(y=signal.mean(0).numpy(), sr=RATE, hop_length=64)


# Analysis


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_tempo_and_beats_are_found(songs, name):
    bpm, first = {"a": (100, 0.4), "b": (108, 0.7), "c": (94, 0.25), "d": (202, 0.4)}[name]
    found = analyse(Song(Path(name), {s: (songs / "train" / name / f"{s}.wav", 0) for s in SOURCES}))
    octave = 2.0 ** round(np.log2(60 / bpm / found.period))
    assert 60 / bpm == pytest.approx(octave * found.period, rel=0.005)
    phase = (np.asarray(found.beats) - first) / (60 / bpm)
    # Within 40 ms of a beat, or of the middle between two.
    assert np.abs(phase - np.round(2 * phase) / 2).max() * 60 / bpm < 0.04
    assert found.seconds == pytest.approx(26, abs=0.01)


@pytest.mark.slow
def test_keys_are_told_apart(songs):
    found = {song.name: analyse(song) for song in find_songs(songs / "train")}
    keys = {"a": 0, "b": 2, "c": -1, "d": 1}
    for one in keys:
        for other in keys:
            assert best_pitch(found[one].chroma, found[other].chroma) == keys[one] - keys[other]


def test_other_stems_stand_in_for_missing_drums_and_bass(songs):
    files = {"guitar": (songs / "train" / "a" / "other.wav", 0)}
    found = analyse(Song(Path("a"), files))
    assert fit_beats(found.beats)[1] == pytest.approx(0.6, rel=0.01)
    from_bass = analyse(Song(Path("a"), {"bass": (songs / "train" / "a" / "bass.wav", 0)}))
    assert best_pitch(found.chroma, from_bass.chroma) == 0


def test_drums_alone_have_no_key(songs):
    assert analyse(Song(Path("a"), {"drums": (songs / "train" / "a" / "drums.wav", 0)})).chroma is None


def test_silence_has_no_beat(tmp_path):
    soundfile.write(tmp_path / "drums.wav", np.zeros((RATE, 2)), RATE)
    with pytest.raises(TrainingError, match="quiet: no beat"):
        analyse(Song(Path("quiet"), {"drums": (tmp_path / "drums.wav", 0)}))


def test_a_song_is_analysed_once_until_it_changes(songs, tmp_path, monkeypatch):
    song = find_songs(songs / "train")[0]
    first = analyse_once(song, tmp_path)
    monkeypatch.setattr(automix_analysis, "analyse", lambda song: pytest.fail("analysed again"))
    assert analyse_once(song, tmp_path) == first
    changed = steady(100)
    monkeypatch.setattr(automix_analysis, "analyse", lambda song: changed)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(song.files["drums"][0].read_bytes())
    assert analyse_once(Song(Path("a"), {"drums": (copy, 0)}), tmp_path) == changed
    for file in tmp_path.glob("*.json"):
        file.write_text("{")
    assert analyse_once(song, tmp_path) == changed


# Plan


def test_stems_come_from_different_songs_in_the_leader_s_tempo_and_key():
    songs = [steady(100), steady(108, key=2), steady(96, key=-1), steady(104, key=1)]
    for number in range(20):
        plan = plan_remix(songs, SOURCES, number, seed=0, seconds=30)
        assert list(plan.parts) == SOURCES
        assert len({part.song for part in plan.parts.values()}) == 4
        leaders = [part for part in plan.parts.values() if part.tempo == 1 and part.pitch == 0]
        assert leaders
        keys = set()
        for source, part in plan.parts.items():
            song = songs[part.song]
            assert part.tempo == pytest.approx(song.period / plan.period)
            assert abs(part.tempo - 1) <= MAX_TEMPO
            # A beat of the song is half a beat of the remix after the start of the passage.
            beat = part.start + part.tempo * plan.period / 2
            assert np.abs(np.asarray(song.beats) - beat).min() < 1e-6
            assert 0 <= part.start <= song.seconds - plan.seconds * part.tempo
            if source == "drums":
                assert part.pitch == 0
            else:
                assert abs(part.pitch) <= MAX_PITCH
                keys.add({0: 0, 1: 2, 2: -1, 3: 1}[part.song] + part.pitch)
        assert len(keys) == 1


def test_half_and_double_time_match():
    songs = [steady(70), steady(143), steady(280)]
    for number in range(6):
        plan = plan_remix(songs, ["drums", "bass", "vocals"], number, seed=1, seconds=30)
        assert {part.song for part in plan.parts.values()} == {0, 1, 2}
        for part in plan.parts.values():
            tempo = part.tempo * plan.period / songs[part.song].period
            assert tempo == pytest.approx(2 ** round(np.log2(tempo)))
            assert abs(part.tempo - 1) <= MAX_TEMPO


def test_songs_that_do_not_match_are_not_used():
    songs = [steady(100), steady(140), steady(100, key=6), steady(102)]
    for number in range(0, 8):
        plan = plan_remix(songs, ["bass", "vocals"], number, seed=0, seconds=30)
        assert {part.song for part in plan.parts.values()} in ({0, 3}, {1}, {2})
        # A stem without a match comes from the same song, at the same place.
        if len({part.song for part in plan.parts.values()}) == 1:
            assert plan.parts["bass"] == plan.parts["vocals"]


def test_drums_of_any_key_match():
    plan = plan_remix([steady(100), steady(100, key=6)], ["bass", "drums"], 0, seed=0, seconds=30)
    assert {part.song for part in plan.parts.values()} == {0, 1}


def test_songs_take_turns_in_leading():
    songs = [steady(60 + 40 * index, seconds=200) for index in range(3)]
    for turn in range(4):
        numbers = range(3 * turn, 3 * turn + 3)
        periods = {
            plan_remix(songs, ["drums", "bass"], number, seed=0, seconds=30).period for number in numbers
        }
        assert len(periods) == 3


def test_a_remix_depends_on_songs_seed_and_number_alone():
    songs = [steady(100 + index) for index in range(5)]
    first = [plan_remix(songs, SOURCES, number, seed=0, seconds=30) for number in range(6)]
    assert [plan_remix(songs, SOURCES, number, seed=0, seconds=30) for number in reversed(range(6))] == first[
        ::-1
    ]
    assert plan_remix(songs, SOURCES, 0, seed=1, seconds=30).parts != first[0].parts
    assert len({json.dumps([vars(part) for part in plan.parts.values()]) for plan in first}) == 6


def test_passages_where_the_stem_sounds_are_preferred():
    songs = [steady(100, seconds=300), steady(100, seconds=300)]
    for song in songs:
        song.loudness["vocals"][:200] = [0.0] * 200
    starts = [
        plan_remix(songs, ["drums", "vocals"], number, seed=0, seconds=20).parts["vocals"].start
        for number in range(20)
    ]
    assert sum(start > 190 for start in starts) >= 16


def test_an_unsteady_beat_cannot_be_used():
    beats = np.cumsum(np.random.default_rng(0).uniform(0.3, 0.9, 150)).tolist()
    unsteady = Analysis("free", 90, beats, None, {"drums": [0.1] * 90})
    with pytest.raises(TrainingError, match="no remix of drums can be made from the 2 songs"):
        plan_remix([unsteady, unsteady], ["drums"], 0, seed=0, seconds=30)


def test_keys_more_than_three_semitones_apart_do_not_match():
    chroma = steady(100).chroma
    assert chroma is not None
    distances = {shift: best_pitch(chroma, np.roll(chroma, -shift).tolist()) for shift in range(-5, 7)}
    assert distances == {shift: shift if abs(shift) <= 3 else None for shift in range(-5, 7)}
    assert best_pitch(None, chroma) == 0
    assert best_pitch(chroma, None) is None


# Remixes


@pytest.mark.slow
def test_remixes_are_a_folder_of_songs(mixed):
    songs = find_songs(mixed / "train")
    assert [song.sources for song in songs] == [SOURCES] * 4
    for song in songs:
        stems = song.references(SOURCES)
        assert stems.shape == (4, 2, 15 * RATE)
        assert stems.abs().amax((1, 2)).min() > 0.02
        assert stems.sum(0).abs().max() <= 1
        recipe = json.loads((mixed / "automix" / "recipes" / f"{song.name}.json").read_text())
        assert len({part["song"] for part in recipe["parts"].values()}) >= 3
        assert {part["song"] for part in recipe["parts"].values()} <= {*"abcd"}


@pytest.mark.slow
def test_beats_of_all_stems_are_aligned(mixed):
    for song in find_songs(mixed / "train"):
        stems = song.references(SOURCES)
        period = json.loads((mixed / "automix" / "recipes" / f"{song.name}.json").read_text())["period"]
        drums = envelope(stems[1])
        for index in (0, 2, 3):
            correlation = np.correlate(envelope(stems[index]), drums, "full")
            lag = (int(correlation.argmax()) - len(drums) + 1) * 64 / RATE
            # A beat tracker may be half a beat off, and songs at double time have notes there.
            error = lag - round(lag / (period / 2)) * period / 2
            assert abs(error) < 0.03, (song.name, SOURCES[index])


@pytest.mark.slow
def test_all_stems_are_in_the_same_key(mixed):
    for song in find_songs(mixed / "train"):
        stems = song.references(SOURCES)
        found = []
        for index in (0, 2, 3):
            chroma = librosa.feature.chroma_cqt(y=stems[index].mean(0).numpy(), sr=RATE).mean(1)
            found.append(chroma / chroma.sum())
        for other in found[1:]:
            distances = [np.abs(found[0] - np.roll(other, shift)).sum() for shift in range(12)]
            assert int(np.argmin(distances)) == 0, song.name


@pytest.mark.slow
def test_a_second_run_keeps_what_exists_and_adds_what_is_missing(songs, mixed, monkeypatch):
    files = sorted((mixed / "train").rglob("*.wav"))
    before = {file: file.read_bytes() for file in files}
    lost = mixed / "train" / "remix_0_00002" / "vocals.wav"
    lost.unlink()
    times = {file: file.stat().st_mtime_ns for file in files if file.parent != lost.parent}
    monkeypatch.setattr(automix_analysis, "analyse", lambda song: pytest.fail("analysed again"))
    told: list[tuple[str, int, int]] = []
    report = automix([songs], mixed, songs=4, seconds=15, progress=lambda *event: told.append(event))
    assert [path.name for path in report.written] == ["remix_0_00002"]
    assert len(report.kept) == 3
    assert not report.outdated
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert {file: file.read_bytes() for file in files} == before
    assert told[-2:] == [("analysing", 4, 4), ("mixing", 1, 1)]


@pytest.mark.slow
def test_kept_remixes_of_another_length_or_of_other_songs_are_noticed(songs, mixed, tmp_path):
    report = automix([songs], mixed, songs=2, seconds=14)
    assert report.outdated == report.kept == [mixed / "train" / f"remix_0_0000{number}" for number in (0, 1)]
    shutil.copytree(songs / "train", tmp_path / "songs", ignore=shutil.ignore_patterns("d"))
    assert automix([tmp_path / "songs"], mixed, songs=4, seconds=15).outdated


@pytest.mark.slow
def test_worker_processes_give_the_same_remixes(songs, mixed, tmp_path):
    shutil.copytree(mixed / "automix" / "songs", tmp_path / "automix" / "songs")
    automix([songs], tmp_path, songs=2, seconds=15, jobs=2)
    for file in sorted((tmp_path / "train").rglob("*.wav")):
        assert file.read_bytes() == (mixed / file.relative_to(tmp_path)).read_bytes()
    assert len([*(tmp_path / "train").rglob("*.wav")]) == 8


def test_loud_stems_are_turned_down_by_the_same_gain(tmp_path):
    for name, key in (("a", 0), ("b", 1)):
        write_song(tmp_path / "songs" / name, 100, key, seconds=20)
        for file in (tmp_path / "songs" / name).iterdir():
            samples, _ = soundfile.read(file)
            soundfile.write(file, 8 * samples, RATE, subtype="FLOAT")
    automix([tmp_path / "songs"], tmp_path / "out", songs=1, sources=["bass", "drums"])
    (song,) = find_songs(tmp_path / "out" / "train")
    assert 0.98 < float(song.read("mixture").abs().max()) <= 1
    recipe = json.loads(next((tmp_path / "out" / "automix" / "recipes").iterdir()).read_text())
    assert recipe["seconds"] == pytest.approx(16, abs=0.1)
    levels = {source: float(song.read(source).square().mean().sqrt()) for source in ("bass", "drums")}
    original = {
        source: float(torch.from_numpy(soundfile.read(tmp_path / "songs" / "a" / f"{source}.wav")[0]).std())
        for source in levels
    }
    assert levels["bass"] / levels["drums"] == pytest.approx(original["bass"] / original["drums"], rel=0.1)


# Errors


def test_songs_that_cannot_be_used_are_reported(songs, tmp_path):
    folder = tmp_path / "songs"
    for name in ("quiet", "broken"):
        (folder / name).mkdir(parents=True)
    soundfile.write(folder / "quiet" / "drums.wav", np.zeros((RATE, 2)), RATE)
    (folder / "broken" / "drums.wav").write_bytes(b"not audio at all")
    report = automix([songs, folder], tmp_path / "out", songs=1, seconds=5, sources=["drums"])
    assert sorted(report.problems) == ["broken", "quiet"]
    assert "no beat" in report.problems["quiet"]
    assert len(report.written) == 1
    with pytest.raises(TrainingError, match=r"at least two usable songs, not 0; .*drums\.wav"):
        automix([folder], tmp_path / "none", songs=1)


def test_songs_to_validate_on_are_linked_to_and_not_used(songs, tmp_path):
    for _ in range(2):
        automix([songs], tmp_path, songs=2, seconds=5, validation=["a", "d", "elsewhere"])
    used = {
        part["song"]
        for recipe in (tmp_path / "automix" / "recipes").iterdir()
        for part in json.loads(recipe.read_text())["parts"].values()
    }
    assert used == {"b", "c"}
    assert [song.name for song in find_songs(tmp_path / "valid")] == ["a", "d"]
    with pytest.raises(TrainingError, match="at least two usable songs, not 1"):
        automix([songs], tmp_path, songs=1, validation=["a", "b", "c"])


def test_stems_declared_unknown_are_not_used(songs, tmp_path):
    for name in "ab":
        shutil.copytree(songs / "train" / name, tmp_path / "songs" / name)
    (tmp_path / "songs" / "a" / "stems.yaml").write_text("unknown: [other]\n")
    (tmp_path / "songs" / "b" / "stems.yaml").write_text("unknown: [other]\n")
    with pytest.raises(TrainingError, match="no song has other; available sources are drums, bass, vocals"):
        automix([tmp_path / "songs"], tmp_path / "out", songs=1, sources=["drums", "other"])


def test_a_scan_finds_remixes_and_songs_to_validate_on(songs, tmp_path):
    automix([songs], tmp_path, songs=2, seconds=5, validation=["a"])
    found = scan([tmp_path])
    assert [song.name for song in found.train] == ["remix_0_00000", "remix_0_00001"]
    assert [song.name for song in found.valid] == ["a"]
    assert not found.problems


def test_impossible_requests_are_rejected(songs, tmp_path):
    with pytest.raises(TrainingError, match="is not a folder"):
        automix([tmp_path / "nowhere"], tmp_path, songs=1)
    with pytest.raises(OptionError, match="choose another output folder"):
        automix([songs], songs, songs=1)
    for wrong in ({"songs": 0}, {"jobs": 0}, {"seconds": 0.0}, {"seconds": float("nan")}):
        with pytest.raises(OptionError, match="must be positive"):
            automix([songs], tmp_path, **{"songs": 1, **wrong})  # type: ignore[arg-type]
    with pytest.raises(
        TrainingError, match="no song has tuba; available sources are drums, bass, other, vocals"
    ):
        automix([songs], tmp_path, songs=1, sources=["drums", "tuba"])

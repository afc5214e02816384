"""Scans of folders of songs: which songs are found, what is wrong with them, and what is done about it."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs.datasets import MUSDB_VALIDATION, STEM_STREAMS, Scan, Song, scan
from hdemucs.datasets.check import check_song
from hdemucs.errors import DatasetError
from tests.audio.signals import encode_libav, noise, tones

RATE = 8000
MUSDB = ["drums", "bass", "other", "vocals"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder of the user, empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def save(path: Path, samples: Tensor, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T.numpy(), rate, subtype="PCM_16")
    return path


def write_song(folder: Path, stems: Mapping[str, Tensor] | None = None, *, mixture: bool = True) -> Path:
    """Write stems of one second, MusDB's four by default, and their sum."""
    stems = stems or {name: noise(RATE, seed=seed) for seed, name in enumerate(MUSDB)}
    for name, stem in stems.items():
        save(folder / f"{name}.wav", stem)
    if mixture:
        save(folder / "mixture.wav", torch.stack(list(stems.values())).sum(0))
    return folder


def stems(*names: str) -> dict[str, Tensor]:
    return {name: noise(RATE, seed=seed) for seed, name in enumerate(names)}


def lines(scanned: Scan) -> str:
    """The report without its summary and the line about validation that a single song causes."""
    return "\n".join(line for line in scanned.report().splitlines()[1:] if "validation" not in line)


def names(scanned: Scan) -> tuple[list[str], list[str]]:
    return [song.name for song in scanned.train], [song.name for song in scanned.valid]


# --- which songs


def test_songs_are_found_in_train_and_valid_but_never_in_test(tmp_path: Path):
    for place in ["train/A", "train/B", "valid/C", "test/D"]:
        write_song(tmp_path / place)
    scanned = scan([tmp_path])
    assert names(scanned) == (["A", "B"], ["C"])
    assert scanned.sources == MUSDB
    assert scanned.problems == []
    assert scanned.report() == (
        "songs for training: 2 (0.00 h), for validation: 1; sources: drums, bass, other, vocals"
    )


def test_several_folders_give_the_sources_of_all_of_them(tmp_path: Path):
    write_song(tmp_path / "one/A", stems("vocals", "guitar"))
    write_song(tmp_path / "two/B", stems("vocals", "drums", "banjo"))
    scanned = scan([tmp_path / "one", tmp_path / "two", tmp_path / "two"], share=0)
    assert scanned.sources == ["drums", "vocals", "banjo", "guitar"]
    assert names(scanned)[0] == ["A", "B"]


def test_songs_that_musdb_reserves_for_validation_are_held_out(tmp_path: Path):
    for name in ["A", "B", "C", "Meaxic - Take A Step", "Leaf - Summerghost"]:
        write_song(tmp_path / "train" / name, stems("vocals"), mixture=False)
    scanned = scan([tmp_path])
    assert names(scanned) == (["A", "B", "C"], ["Leaf - Summerghost", "Meaxic - Take A Step"])
    assert len(MUSDB_VALIDATION) == 14


def test_songs_are_held_out_by_name(tmp_path: Path):
    for place in ["train/A", "train/B", "valid/C", "valid/D"]:
        write_song(tmp_path / place, stems("vocals"))
    assert names(scan([tmp_path], validation=["B", "D"])) == (["A"], ["B", "D"])
    with pytest.raises(DatasetError, match="no usable song is named 'Aa'; did you mean A"):
        scan([tmp_path], validation=["Aa"])
    with pytest.raises(DatasetError, match="all songs are held out"):
        scan([tmp_path], validation=["A", "B"])


def test_the_share_held_out_depends_on_the_seed_alone(tmp_path: Path):
    for number in range(12):
        write_song(tmp_path / f"{number}", stems("vocals"))
    held_out = [names(scan([tmp_path], share=0.25, seed=seed))[1] for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]
    assert len(held_out[0]) == 3
    assert len(names(scan([tmp_path], share=0.01))[1]) == 1
    assert names(scan([tmp_path], share=0))[1] == []
    assert len(names(scan([tmp_path], share=1))[0]) == 1


def test_songs_that_know_all_sources_are_held_out_first(tmp_path: Path):
    for number in range(6):
        write_song(tmp_path / f"{number}", stems("vocals", "drums") if number == 4 else stems("vocals"))
    assert names(scan([tmp_path], seed=3))[1] == ["4"]


def test_a_single_song_is_trained_on(tmp_path: Path):
    write_song(tmp_path / "A")
    scanned = scan([tmp_path])
    assert names(scanned) == (["A"], [])
    assert "only one song can be used; there is no validation" in scanned.report()


def test_musdb18_stem_files_are_songs(tmp_path: Path):
    signals = [
        0.3 * noise(44100, seed=seed) + 0.2 * tones(44100, 1.0, 2, 300.0 + 200 * seed) for seed in range(4)
    ]
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "A.stem.mp4"
    encode_libav(path, [torch.stack(signals).sum(0), *signals], 44100, "aac", "mp4")
    scanned = scan([tmp_path])
    (song,) = scanned.train
    assert scanned.sources == list(STEM_STREAMS[1:])
    assert song.sample_rate == 44100
    assert lines(scanned) == ""


# --- what is wrong


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "has no songs, neither folders of stem files"),
        (["test/A/drums.wav"], "only test/, which is never trained on"),
        (["drums.wav"], "is a song, not a folder of songs"),
    ],
)
def test_folders_without_songs_are_rejected(tmp_path: Path, content: list[str], message: str):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in content:
        save(folder / path, noise(100))
    with pytest.raises(DatasetError, match=message) as caught:
        scan([folder])
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_rejected(tmp_path: Path):
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        scan([tmp_path / "nowhere"])


def test_songs_without_any_source_are_rejected(tmp_path: Path):
    write_song(tmp_path / "A", stems("flute"))
    with pytest.raises(DatasetError, match=r"none of the stems drums, only flute.*add songs") as caught:
        scan([tmp_path], ["drums"])
    assert str(tmp_path) in str(caught.value)


def test_a_damaged_stem_is_unknown(tmp_path: Path):
    song = write_song(tmp_path / "A")
    (song / "bass.wav").write_bytes(b"RIFF and other words\n" * 50)
    spoilt = noise(RATE)
    spoilt[1, RATE // 2] = float("nan")
    soundfile.write(song / "other.wav", spoilt.T.numpy(), RATE, subtype="FLOAT")
    save(song / "vocals.wav", torch.zeros(2, 0))
    scanned = scan([tmp_path])
    (trained,) = scanned.train
    assert trained.known_sources(MUSDB).tolist() == [True, False, False, False]
    assert set(trained.song.files) == {"drums", "mixture"}
    report = lines(scanned)
    assert f"{song / 'bass.wav'}: is not audio, or is damaged" in report
    assert f"{song / 'other.wav'}: has NaN or infinite samples near" in report
    assert f"{song / 'vocals.wav'}: has no samples; the stem is treated as unknown" in report
    assert "no song has the stem bass; the model cannot learn it" in report


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_stem_that_ends_early_is_unknown(tmp_path: Path, suffix: str):
    """Of a track, what is there is separated; such a stem would cut its whole song short."""
    song = write_song(tmp_path / "A", {name: noise(4 * RATE, seed=seed) for seed, name in enumerate(MUSDB)})
    (song / "bass.wav").unlink()
    stem = song / f"bass.{suffix}"
    soundfile.write(stem, noise(4 * RATE, seed=1).T.numpy(), RATE)
    stem.write_bytes(stem.read_bytes()[: stem.stat().st_size // 2])
    for _ in range(2):  # from the file, then from the cache
        scanned = scan([tmp_path])
        (trained,) = scanned.train
        assert trained.length == 4 * RATE
        assert trained.known_sources(MUSDB).tolist() == [True, False, True, True]
        (problem,) = [problem for problem in scanned.problems if problem.file == stem]
        assert problem.fault.startswith("ends early, at ")
        assert problem.action == "the stem is treated as unknown"
    length = check_song(Song(song, {"bass": (stem, 0)})).files["bass"].length
    assert 1.5 * RATE < length < 2.1 * RATE


def test_a_damaged_mixture_is_ignored(tmp_path: Path):
    song = write_song(tmp_path / "A")
    (song / "mixture.wav").write_bytes(b"")
    scanned = scan([tmp_path])
    assert "mixture.wav: is empty; download or export it again; the mixture is ignored" in lines(scanned)
    assert scanned.train[0].known_sources(MUSDB).all()


def test_stems_of_different_lengths_are_cut(tmp_path: Path):
    song = write_song(tmp_path / "A", mixture=False)
    save(song / "bass.wav", noise(RATE - 800))
    scanned = scan([tmp_path])
    assert scanned.train[0].length == RATE - 800
    assert lines(scanned) == (
        f"  {song}: files differ in length (bass 0.900 s, longest 1.000 s); all are cut to the shortest"
    )


def test_other_sample_rates_are_reported(tmp_path: Path):
    song = write_song(tmp_path / "A", stems("drums", "bass", "other"), mixture=False)
    save(song / "vocals.wav", noise(22051), 22050)
    scanned = scan([tmp_path])
    assert (scanned.train[0].sample_rate, scanned.train[0].length) == (RATE, RATE)
    assert "sample rate is 8000 and 22050 Hz, not 8000 Hz; it is resampled on the fly" in lines(scanned)
    (song / "vocals.wav").unlink()
    assert lines(scan([tmp_path], sample_rate=RATE)) == ""
    report = lines(scan([tmp_path], sample_rate=44100))
    assert "sample rate is 8000 Hz, not 44100 Hz; it is resampled" in report


def test_a_mixture_that_is_not_the_sum_of_its_stems_is_reported(tmp_path: Path):
    song = write_song(tmp_path / "A")
    save(song / "mixture.wav", 0.9 * noise(RATE, seed=9))
    scanned = scan([tmp_path])
    assert "the stems do not add up to the mixture (off by " in lines(scanned)
    assert "their sum is used instead" in lines(scanned)
    expected = torch.stack([scanned.train[0].stems([name], RATE, 2)[0] for name in MUSDB]).sum(0)
    torch.testing.assert_close(scanned.train[0].stems(MUSDB, RATE, 2).sum(0), expected)


def test_rounding_to_16_bits_is_tolerated(tmp_path: Path):
    write_song(tmp_path / "A", {name: 1e-4 * noise(RATE, seed=seed) for seed, name in enumerate(MUSDB)})
    assert lines(scan([tmp_path])) == ""


def test_a_silent_song_is_left_out(tmp_path: Path):
    write_song(tmp_path / "A")
    write_song(tmp_path / "B", {"drums": torch.zeros(2, RATE)})
    scanned = scan([tmp_path], MUSDB)
    assert names(scanned)[0] == ["A"]
    assert f"{tmp_path / 'B'}: is silent; the song is left out" in lines(scanned)


def test_the_second_file_of_a_stem_is_ignored(tmp_path: Path):
    song = write_song(tmp_path / "A", stems("drums"), mixture=False)
    save(song / "drums.flac", noise(RATE))
    report = lines(scan([tmp_path]))
    assert f"{song / 'drums.flac'}: the same stem is in drums.wav; this file is ignored" in report


def test_a_problem_of_several_songs_is_reported_once(tmp_path: Path):
    for number in range(6):
        write_song(tmp_path / f"{number}", stems("drums", "flute"))
    report = lines(scan([tmp_path], ["drums"], share=0))
    assert report.count("has stems besides the sources (flute); they are left in the mixture") == 1
    assert "and 3 more" in report


# --- what is known


def test_missing_stems_are_unknown_unless_declared_silent(tmp_path: Path):
    for name in "ABCDE":
        write_song(tmp_path / name, stems("drums", "bass"))
    (tmp_path / "stems.yaml").write_text(
        "silent: [vocals]\nsongs: {B: {unknown: [vocals]}, C: {silent: [other]}}"
    )
    (tmp_path / "D" / "stems.yaml").write_text("unknown: [bass, vocals]")
    (tmp_path / "E" / "stems.yaml").write_text("silent: [bass]")
    scanned = scan([tmp_path], MUSDB, share=0)
    known = {song.name: "".join("01"[song.known(source)] for source in MUSDB) for song in scanned.train}
    assert known == {"A": "1101", "B": "1100", "C": "1111", "D": "1000", "E": "1101"}
    wrong = "is declared silent, but has a file; the file is used"
    assert f"{tmp_path / 'E' / 'bass.wav'}: {wrong}" in lines(scanned)


def test_a_misspelt_stem_in_stems_yaml_is_noticed(tmp_path: Path):
    for name in "AB":
        write_song(tmp_path / name, stems("drums", "bass"))
    (tmp_path / "stems.yaml").write_text("silent: [vocls, other]\nunknown: [bas]")
    report = scan([tmp_path], MUSDB).report()
    advice = "which no song and no source has; it is ignored; did you mean"
    assert f"{tmp_path / 'A'}, {tmp_path / 'B'}: stems.yaml has the stem 'vocls', {advice} vocals?" in report
    assert f"stems.yaml has the stem 'bas', {advice} bass?" in report
    assert "'other'" not in report


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("silent: vocals", "silent must be a list of stems"),
        ("silnet: [vocals]", "key 'silnet'; did you mean silent"),
        ("[vocals]", "must be a mapping"),
        ("silent: [", "cannot be read"),
        ("{silent: [a], unknown: [a]}", "a cannot be both silent and unknown"),
        ("songs: {Aa: {silent: [a]}}", "there is no song 'Aa'; did you mean A"),
        ("songs: {A: {songs: {}}}", "key 'songs'"),
        ("songs: [A]", "songs must be a mapping"),
    ],
)
def test_mistakes_in_stems_yaml_are_rejected(tmp_path: Path, content: str, message: str):
    write_song(tmp_path / "A", stems("drums"))
    (tmp_path / "stems.yaml").write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        scan([tmp_path])
    assert str(tmp_path / "stems.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rest_is_the_mixture_minus_the_known_sources(tmp_path: Path):
    written = stems("drums", "bass", "flute")
    song = write_song(tmp_path / "A", written)
    (song / "bass.wav").unlink()
    mono = noise(RATE, 1, seed=7)
    save(tmp_path / "B" / "drums.wav", mono)
    scanned = scan([tmp_path], ["drums", "bass"], share=0)
    first, second = (trained.stems(["drums", "bass"], RATE, 2) for trained in scanned.train)
    rounding = 4 / 2**15
    torch.testing.assert_close(first[0], written["drums"], atol=rounding, rtol=0)
    assert not first[1].any()
    torch.testing.assert_close(first[2], written["bass"] + written["flute"], atol=rounding, rtol=0)
    torch.testing.assert_close(second[0], mono.repeat(2, 1), atol=rounding, rtol=0)
    assert not second[1:].any()
    # Stems that are not among the sources belong to the rest, with or without a file of the mixture.
    for _ in range(2):
        (trained,) = scan([tmp_path], ["flute"], share=0).train
        rows, known = trained.full_track(["flute"], RATE, 2)
        torch.testing.assert_close(rows[0], written["flute"], atol=rounding, rtol=0)
        rest = written["drums"] + (written["bass"] if (song / "mixture.wav").exists() else 0)
        torch.testing.assert_close(rows[1], rest, atol=rounding, rtol=0)
        assert known.tolist() == [True]
        (song / "mixture.wav").unlink(missing_ok=True)


# --- the cache


def scan_counting(folder: Path) -> tuple[Scan, list[tuple[int, int]]]:
    """A scan, and the numbers of files checked and of all files, told after each song that was not cached."""
    told: list[tuple[int, int]] = []
    return scan([folder], progress=lambda done, total: told.append((done, total))), told


def test_songs_are_checked_once_until_they_change(tmp_path: Path):
    for name in "ABC":
        write_song(tmp_path / name)
    (tmp_path / "A" / "bass.wav").write_bytes(b"broken")
    first, told = scan_counting(tmp_path)
    assert told == [(5, 15), (10, 15), (15, 15)]
    assert scan_counting(tmp_path) == (first, [])
    later = (tmp_path / "B" / "drums.wav").stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "B" / "drums.wav", ns=(later, later))
    save(tmp_path / "C" / "flute.wav", noise(RATE))
    _, told = scan_counting(tmp_path)
    assert [total for _, total in told] == [16, 16]
    assert told[-1] == (16, 16)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "songs": {"a": 1}}', "\0"]
)
def test_a_damaged_cache_counts_as_empty(tmp_path: Path, cache: Path, content: str):
    write_song(tmp_path / "A")
    first = scan([tmp_path])
    (file,) = cache.rglob("*.json")
    file.write_text(content)
    assert scan([tmp_path]) == first
    assert len(file.read_text()) > 100


def test_cache_entries_of_another_form_are_ignored(tmp_path: Path, cache: Path):
    write_song(tmp_path / "A")
    first = scan([tmp_path])
    (file,) = cache.rglob("*.json")
    file.write_text(file.read_text().replace('"peak"', '"height"'))
    assert scan_counting(tmp_path) == (first, [(5, 5)])


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path):
    write_song(tmp_path / "songs" / "A")
    (tmp_path / "file").touch()
    assert names(scan([tmp_path / "songs"], cache=tmp_path / "file"))[0] == ["A"]

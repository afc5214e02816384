import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from hdemucs.errors import OptionError, OutputError, SynthesisError, TrainingError
from hdemucs.synthesis import dataset, song
from hdemucs.synthesis.dataset import write_song, write_songs
from hdemucs.synthesis.drums.drum_machine import synthesise_kit
from hdemucs.synthesis.drums.drummer import choose_kit, play_kit, tune_kit
from hdemucs.synthesis.drums.kits import DRUMS, classify, load_kit
from hdemucs.synthesis.mixing.effects import loudness
from hdemucs.synthesis.mixing.production import CEILING, balance, duck, master
from hdemucs.synthesis.score.genres import GENRES
from hdemucs.synthesis.score.grooves import Hit
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.song import STEMS, Song, make_song
from hdemucs.synthesis.sounds import SOUNDS, Sound, choose_sounds, find_sounds
from hdemucs.synthesis.voice import ensemble as singer_ensemble
from hdemucs.synthesis.voice import vocals
from tests.synthesis.tiny import hum, tiny_sounds, tiny_voice, write_kit


@pytest.fixture
def studio(tmp_path, monkeypatch, tiny_fluidsynth):
    """Tiny sounds of both sides, and somebody who hums."""
    monkeypatch.setattr(vocals, "sing", hum)
    monkeypatch.setattr(singer_ensemble, "sing", hum)
    (tmp_path / "held").mkdir()
    sounds = tiny_sounds(tmp_path) + tiny_sounds(tmp_path / "held", held_out=True)
    voices = [tiny_voice(), tiny_voice(held_out=True)]
    monkeypatch.setattr(song, "find_sounds", lambda: sounds)
    monkeypatch.setattr(song, "find_voices", lambda: voices)
    return sounds


def noise_stems(seconds: float = 4.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: (0.1 * rng.standard_normal((2, round(seconds * RATE)))).astype(np.float32) for name in STEMS
    }


def test_every_sound_says_its_licence_and_where_it_is_stated():
    assert all(sound.licence and sound.stated and sound.package for sound in SOUNDS)
    assert len({sound.name for sound in SOUNDS}) == len(SOUNDS)


def test_what_is_shared_alike_only_is_never_trained_on():
    for sound in SOUNDS:
        copyleft = sound.licence.startswith(("GPL", "CC-BY-SA"))
        assert sound.held_out or not copyleft or "exception for compositions" in sound.licence


def test_missing_sounds_are_named_with_the_remedy(tmp_path):
    gone = [Sound("gone", "soundfont", tmp_path / "gone.sf2", "gone-package", "MIT", "there")]
    assert find_sounds(gone) == []
    with pytest.raises(
        TrainingError, match=r"no soundfont is installed.*apt-get install.*fluid-soundfont-gm"
    ):
        choose_sounds([], held_out=False)
    with pytest.raises(TrainingError, match="no held-out soundfont"):
        choose_sounds([], held_out=True)


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
def test_drums_are_known_by_their_names(name, drum):
    assert classify(name) == drum


def test_a_recorded_kit_is_sorted_from_soft_to_hard(tmp_path):
    sound = Sound("bursts", "kit", write_kit(tmp_path / "kit"), "p", "CC0-1.0", "here", "acoustic")
    kit = load_kit(sound, 0, {"kick", "crash", "shaker"})
    assert set(kit) == {"kick", "crash"}
    soft, hard = (float(np.abs(stroke).max()) for stroke in kit["kick"])
    assert hard == pytest.approx(1, abs=1e-3)
    assert soft < 0.4


def test_a_kit_without_a_snare_is_refused(tmp_path):
    folder = write_kit(tmp_path / "kit")
    text = (folder / "drumkit.xml").read_text()
    (folder / "drumkit.xml").write_text(text.replace("Snare", "Gong"))
    sound = Sound("bursts", "kit", folder, "tiny-kit", "CC0-1.0", "here", "acoustic")
    with pytest.raises(TrainingError, match="has no snare; install tiny-kit again"):
        load_kit(sound, 0, {"kick"})


def test_synthesised_kits_have_every_drum():
    kit = synthesise_kit(np.random.default_rng(0))
    assert set(kit) == set(DRUMS)
    assert all(np.isfinite(stroke).all() and np.abs(stroke).max() <= 1.001 for (stroke,) in kit.values())


@pytest.mark.parametrize("character", ["acoustic", "electronic"])
def test_a_chosen_kit_has_all_that_is_wanted(studio, character):
    wanted = {"kick", "snare", "closed", "cowbell", "low conga"}
    for seed in range(4):
        kit, _ = choose_kit(character, wanted, choose_sounds(studio, False), np.random.default_rng(seed))
        assert set(kit) == wanted


def test_strokes_are_where_the_hits_are_and_louder_ones_are_louder():
    rng = np.random.default_rng(0)
    kit = tune_kit(synthesise_kit(rng), rng)
    hits = [Hit(0.5, "kick", 0.3), Hit(1.5, "kick", 0.95), Hit(2.6, "kick", 1), Hit(-1, "kick", 1)]
    audio = np.abs(play_kit(hits, kit, 2.5, rng)).max(axis=0)
    assert not audio[: round(0.49 * RATE)].any()
    assert audio[round(1.45 * RATE) :].max() > 2 * audio[: round(1.4 * RATE)].max()


def test_a_closing_hat_stops_an_open_one():
    rng = np.random.default_rng(0)
    kit = tune_kit({drum: synthesise_kit(rng)[drum] for drum in ("open", "closed")}, rng)
    ringing = play_kit([Hit(0, "open", 1)], kit, 1, np.random.default_rng(1))
    stopped = play_kit([Hit(0, "open", 1), Hit(0.1, "closed", 0.05)], kit, 1, np.random.default_rng(1))
    late = slice(round(0.25 * RATE), round(0.5 * RATE))
    assert np.abs(stopped[:, late]).max() < 0.3 * np.abs(ringing[:, late]).max()


def test_the_mix_bus_treats_all_stems_alike():
    stems = noise_stems()
    stems["bass"] = stems["drums"] * 0.5
    stems["vocals"] = 0 * stems["vocals"]
    mastered = master(stems, np.random.default_rng(3))
    np.testing.assert_allclose(mastered["bass"], 0.5 * mastered["drums"], atol=1e-5)
    assert not mastered["vocals"].any()
    limit = 10 ** (CEILING / 20) * 1.0001
    assert np.abs(np.sum(list(mastered.values()), axis=0)).max() <= limit
    assert all(np.abs(stem).max() <= limit for stem in mastered.values())


def test_balance_sets_loudness_and_keeps_silence():
    stems = noise_stems() | {"other": np.zeros((2, 4 * RATE), np.float32)}
    levels = {name: loudness(stem) for name, stem in balance(stems, np.random.default_rng(0)).items()}
    assert all(-35 < levels[name] < -15 for name in ("drums", "bass", "vocals"))
    assert levels["other"] == -120


def test_ducking_follows_the_kick():
    audio = duck(np.ones((2, RATE), np.float32), [0.5, 2.0], 12, 0.2)
    assert audio[0, round(0.45 * RATE)] == 1
    assert audio[0, round(0.5 * RATE) + 1] == pytest.approx(10 ** (-12 / 20), rel=0.01)
    assert audio[0, round(0.75 * RATE)] == 1


@pytest.mark.parametrize("held_out", [False, True])
def test_a_song_has_four_stems_that_add_up(studio, held_out):
    made = make_song(3, 6.0, held_out=held_out)
    assert set(made.stems) == set(STEMS)
    for stem in made.stems.values():
        assert stem.shape == (2, 6 * RATE)
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
    np.testing.assert_allclose(made.mixture, sum(made.stems.values()), atol=1e-6)
    assert np.abs(made.mixture).max() <= 10 ** (CEILING / 20) * 1.001
    styles = {genre.name: genre.held_out for genre in GENRES}
    assert styles[str(made.description["style"])] == held_out


def test_the_same_seed_gives_the_same_song_and_another_seed_another(studio):
    first, second, other = make_song(7, 3.0), make_song(7, 3.0), make_song(8, 3.0)
    np.testing.assert_array_equal(first.mixture, second.mixture)
    assert first.description == second.description
    assert not np.array_equal(first.mixture, other.mixture)


def test_songs_cannot_be_sung_without_a_voice(studio):
    with pytest.raises(SynthesisError, match="no voice is installed to sing"):
        make_song(0, 2.0, voices=[])


def loud_song() -> Song:
    rng = np.random.default_rng(0)
    stems = {name: rng.uniform(-0.24, 0.24, (2, 5000)).astype(np.float32) for name in STEMS}
    return Song("loud", stems, {"style": "none", "other": ["a", "b"]})


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_stems_in_files_add_up_exactly(tmp_path, format):
    write_song(loud_song(), tmp_path / "train" / "loud", format)
    read = {
        name: soundfile.read(tmp_path / "train" / "loud" / f"{name}.{format}", dtype="int16")[0].astype(int)
        for name in (*STEMS, "mixture")
    }
    np.testing.assert_array_equal(sum(read[name] for name in STEMS), read["mixture"])
    assert yaml.safe_load((tmp_path / "train" / "loud" / "song.yaml").read_text())["other"] == ["a", "b"]


def test_a_song_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "train").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_song(loud_song(), tmp_path / "train" / "loud")
    assert list(tmp_path.iterdir()) == [tmp_path / "train"]


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    made: list[tuple[int, bool]] = []

    def make(seed, seconds, *, held_out):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append((seed, held_out))
        return loud_song()

    monkeypatch.setattr(dataset, "make_song", make)
    with pytest.raises(KeyboardInterrupt):
        write_songs(tmp_path, songs=2, held_out=2, seed=5)
    made.clear()
    seen = []
    assert write_songs(tmp_path, songs=2, held_out=2, seed=5, progress=lambda *now: seen.append(now)) == 2
    assert made == [(5, True), (6, True)]
    assert seen == [(3, 4), (4, 4)]
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*"))
    assert names == ["test/held out 000005", "test/held out 000006", "train/song 000005", "train/song 000006"]


@pytest.mark.parametrize("options", [{"songs": -1}, {"songs": 1, "jobs": 0}, {"songs": 1, "seconds": -2.0}])
def test_numbers_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(OptionError, match="must be positive"):
        write_songs(tmp_path, **options)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(OptionError, match="'mp3' is no format"):
        write_songs(tmp_path, songs=1, format="mp3")


def test_importing_needs_no_optional_package():
    blocked = (
        "import sys; sys.modules.update(fluidsynth=None, pyworld=None); import hdemucs.synthesis.dataset"
    )
    subprocess.run([sys.executable, "-c", blocked], check=True, cwd=Path(__file__).parents[2])

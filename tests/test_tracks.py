"""Which files are separated, and where their stems go."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdemucs.errors import AudioError, OptionError
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, clashes, find_tracks, mark, plan, template_format

OUT = Path("out")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*inputs: Path, out: Path = OUT) -> list[tuple[str, str]]:
    return [(track.path.name, track.name) for track in find_tracks(inputs, out)]


def place(
    name: str, template: str = DEFAULT_TEMPLATE, folder: Path = OUT, stem: str = "vocals", ext: str = "wav"
) -> Path:
    """Path of one stem of one track."""
    track = Track(Path(name), Path(name).stem)
    return plan([track], folder, template, [stem], ext)[0][stem]


# --- inputs


def test_named_files_are_taken_whatever_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.txt", "c", ".hidden.wav")
    inputs = [tmp_path / name for name in ("b.txt", "a.mp3", "c", ".hidden.wav")]
    assert found(*inputs) == [("b.txt", "b"), ("a.mp3", "a"), ("c", "c"), (".hidden.wav", ".hidden")]


def test_folders_are_searched(tmp_path: Path) -> None:
    touch(tmp_path, "b.FLAC", "a.v2.mp3", "cd 1/x.wav", "cd 1/y/x.wav", "cover.jpg", "notes.txt", "clip.mp4")
    touch(tmp_path, "._b.mp3", ".trash/old.mp3")
    assert found(tmp_path) == [
        ("a.v2.mp3", "a.v2"),
        ("b.FLAC", "b"),
        ("x.wav", "cd 1/x"),
        ("x.wav", "cd 1/y/x"),
        ("clip.mp4", "clip"),
    ]


def test_a_hidden_folder_may_be_named(tmp_path: Path) -> None:
    touch(tmp_path, ".music/a.mp3")
    assert found(tmp_path / ".music") == [("a.mp3", "a")]


@pytest.mark.parametrize("names", [(), ("readme.txt", ".a.mp3")])
def test_a_folder_without_audio_is_an_error(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(AudioError, match=r"contains no audio files.*\.mp3") as caught:
        find_tracks([tmp_path], OUT)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.mp3", "x" * 300 + ".mp3"])
def test_missing_files_are_kept_for_later(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.mp3")
    assert found(tmp_path / name, tmp_path / "a.mp3") == [(name, name[:-4]), ("a.mp3", "a")]


def test_the_same_file_twice_is_one_track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.mp3", "b.mp3")
    monkeypatch.chdir(tmp_path)
    inputs = [Path("b.mp3"), Path("a.mp3"), Path("./b.mp3"), tmp_path / "a.mp3", Path()]
    assert found(*inputs) == [("b.mp3", "b"), ("a.mp3", "a")]


def test_links(tmp_path: Path) -> None:
    touch(tmp_path, "music/a.mp3", "store/b.mp3")
    (tmp_path / "music" / "linked.mp3").symlink_to(tmp_path / "store" / "b.mp3")
    (tmp_path / "music" / "broken.mp3").symlink_to(tmp_path / "nowhere.mp3")
    (tmp_path / "shortcut").symlink_to(tmp_path / "music")
    assert found(tmp_path / "shortcut") == [("a.mp3", "a"), ("linked.mp3", "linked")]


def test_stems_of_earlier_runs_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.mp3", "separated/mdx/a/vocals.wav", "separated songs/b.mp3")
    monkeypatch.chdir(tmp_path)
    assert found(Path(), out=Path("separated")) == [("a.mp3", "a"), ("b.mp3", "separated songs/b")]
    assert found(tmp_path, out=Path("separated")) == [("a.mp3", "a"), ("b.mp3", "separated songs/b")]


def test_stems_can_be_separated_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "separated/mdx/a/vocals.wav")
    out = tmp_path / "separated"
    assert found(out / "mdx" / "a", out=out) == [("vocals.wav", "vocals")]
    assert found(out / "mdx" / "a" / "vocals.wav", out=out) == [("vocals.wav", "vocals")]


def test_stems_of_runs_into_other_folders_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "first/mdx/a/vocals.wav", "b/b.mp3")
    tracks = find_tracks([tmp_path / "a.mp3"], OUT)
    mark(tmp_path / "first/mdx", tracks)
    mark(tmp_path / "b", [*tracks, Track(tmp_path / "b/b.mp3", "b")])
    assert found(tmp_path) == [("a.mp3", "a"), ("b.mp3", "b/b")]
    assert found(tmp_path / "first/mdx") == [("vocals.wav", "a/vocals")]
    with pytest.raises(AudioError, match="no audio files besides stems of earlier runs"):
        find_tracks([tmp_path / "first"], OUT)


def test_a_folder_that_cannot_be_read_is_kept_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "b/song.wav", "a/song.wav")
    scan = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    failed, track = find_tracks([tmp_path], OUT)
    assert (track.name, track.error) == ("b/song", None)
    assert str(failed.error) == f"{tmp_path / 'a'} cannot be searched: Permission denied; make it readable"


def test_links_in_a_circle(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "above").symlink_to(tmp_path)
    assert found(tmp_path, out=tmp_path / "loop.wav") == [("a.mp3", "a")]
    track = Track(Path("song.mp3"), "song")
    assert plan([track], tmp_path / "loop.wav", DEFAULT_TEMPLATE, ["drums"], "wav")


# --- outputs


def test_paths_are_those_of_demucs() -> None:
    tracks = [Track(Path("in/a.v2.mp3"), "a.v2"), Track(Path("in/cd/b.wav"), "cd/b")]
    assert plan(tracks, Path("out/mdx"), DEFAULT_TEMPLATE, ["drums", "no_drums"], "flac") == [
        {"drums": Path("out/mdx/a.v2/drums.flac"), "no_drums": Path("out/mdx/a.v2/no_drums.flac")},
        {"drums": Path("out/mdx/cd/b/drums.flac"), "no_drums": Path("out/mdx/cd/b/no_drums.flac")},
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{stem}/{track}.{ext}", "out/vocals/song.wav"),
        ("{track} ({stem}).{ext}", "out/song (vocals).wav"),
        ("{track}.{trackext}/{stem}.{ext}", "out/song.mp3/vocals.wav"),
        ("{{{track}}}-{stem:>8}", "out/{song}-  vocals"),
        ("a/../{stem}", "out/a/../vocals"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    assert place("song.mp3", template) == Path(expected)


@pytest.mark.parametrize("name", ["{stem}", "{", "}{0}", "{track!r}", "[b]", "%s $HOME ~", "-o", " "])
def test_names_are_taken_literally(name: str) -> None:
    assert place(f"{name}.mp3") == OUT / name / "vocals.wav"


@pytest.mark.parametrize(
    "template",
    [
        "{title}.{ext}",
        "{stem",
        "stem}",
        "{}",
        "{0}{stem}",
        "{stem.nothing}",
        "{stem[x]}",
        "{stem[99]}",
        "{stem:d}",
        "{stem!x}",
        "{stem:{track}}",
        "{stem:>99999999999}",
        "{stem:{trackext}}",
    ],
)
def test_templates_that_cannot_be_filled_in_are_refused(template: str) -> None:
    with pytest.raises(OptionError, match=r"cannot be filled in") as caught:
        place("song.mp3", template)
    assert template in str(caught.value)
    assert "{trackext}" in str(caught.value)


@pytest.mark.parametrize(
    "template", ["../{stem}.{ext}", "/tmp/{stem}.{ext}", "{track}/../../{stem}", "../outside/{stem}"]
)
def test_templates_that_lead_out_are_refused(template: str) -> None:
    with pytest.raises(OptionError, match="leads out"):
        place("song.mp3", template)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "song").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OptionError, match="leads out"):
        place("song.mp3", folder=tmp_path / "out")


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert place("song.mp3", folder=tmp_path / "out") == tmp_path / "out" / "song" / "vocals.wav"


@pytest.mark.parametrize("template", ["{track}.{ext}", "{stem}/../{track}.{ext}"])
def test_stems_must_have_different_names(template: str) -> None:
    track = Track(Path("song.mp3"), "song")
    with pytest.raises(OptionError, match=r"needs \{stem\}"):
        plan([track], OUT, template, ["drums", "vocals"], "wav")
    assert plan([track], OUT, "{track}.{ext}", ["drums"], "wav") == [{"drums": OUT / "song.wav"}]


@pytest.mark.parametrize("template", [DEFAULT_TEMPLATE, "{track}/../{stem}.{ext}"])
def test_tracks_must_have_different_paths(template: str) -> None:
    names = ("song", "song") if template == DEFAULT_TEMPLATE else ("song", "other")
    tracks = [Track(Path("a/x.mp3"), names[0]), Track(Path("b/y.wav"), names[1]), Track(Path("c"), "c")]
    *clashing, free = clashes(tracks, [*plan(tracks[:2], OUT, template, ["drums", "vocals"], "wav"), {}])
    assert free is None
    for error, track in zip(clashing, tracks, strict=False):
        assert str(error).startswith(f"{track.path} and ")
        for word in ("a/x.mp3", "b/y.wav", "different folders"):
            assert word in str(error)


def test_the_suggested_template_works() -> None:
    tracks = [Track(Path("song.mp3"), "song"), Track(Path("song.wav"), "song")]
    stems = ["drums", "vocals"]
    error, _ = clashes(tracks, plan(tracks, OUT, DEFAULT_TEMPLATE, stems, "wav"))
    proposed = str(error).split("'")[1]
    assert clashes(tracks, plan(tracks, OUT, proposed, stems, "wav")) == [None, None]


@pytest.mark.parametrize(
    ("template", "format"),
    [
        ("{track}/{stem}.mp3", "mp3"),
        ("{track}/{stem}.FLAC", "flac"),
        ("{track}/{stem}.oga", "ogg"),
        (DEFAULT_TEMPLATE, None),
        ("{stem}/{track}", None),
        ("{track}.{stem}", None),
    ],
)
def test_the_suffix_of_a_template_asks_for_a_format(template: str, format: str | None) -> None:
    assert template_format(template) == format


@pytest.mark.parametrize("template", ["{stem}.flac", "{stem}.m4a", "{stem}.{trackext}"])
def test_a_suffix_of_another_format_is_refused(template: str) -> None:
    with pytest.raises(OptionError, match=r"format wav the name vocals\."):
        place("song.mp3", template)


# File names that an operating system allows: without slash and null.
NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=40
)


@given(NAMES, st.sampled_from([DEFAULT_TEMPLATE, "{stem}/{track}.{ext}", "{track}.{trackext}-{stem}"]))
def test_any_name_stays_inside(name: str, template: str) -> None:
    try:
        path = place(name + ".mp3", template)
    except OptionError:
        # Only ".." leads out of the folder.
        assert name == ".."
        return
    assert os.path.realpath(path).startswith(os.path.realpath(OUT) + os.sep)

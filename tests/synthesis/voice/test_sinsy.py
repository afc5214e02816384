"""The score that Sinsy sings, and the singers made from its one voice."""

from xml.etree import ElementTree

from hdemucs.synthesis.voice.sinsy import Sinsy, musicxml


def test_a_phrase_is_written_as_a_whole_bar_of_music():
    score = ElementTree.fromstring(musicxml([(60, 2, "ら"), (63, 5, "しゃ")]))
    notes = score.findall(".//note")
    assert [note.findtext("lyric/text") for note in notes] == [None, "ら", "しゃ", None]
    pitches = [
        [note.findtext(f"pitch/{part}") for part in ("step", "alter", "octave")] for note in notes[1:3]
    ]
    assert pitches == [["C", "0", "4"], ["D", "1", "4"]]
    beats = int(score.findtext(".//beats") or 0)
    assert beats == sum(int(note.findtext("duration") or 0) for note in notes)


def test_a_singer_with_a_longer_vocal_tract_sings_lower():
    slowed = 67 - 4  # what 0.8 times the speed does to the pitch of phrases
    assert Sinsy(1.0).home(67) - 16 < Sinsy(0.8).home(slowed) < Sinsy(1.0).home(67) - 10

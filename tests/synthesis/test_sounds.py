import pytest

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.sounds import SOUNDS, choose_sounds, find_sounds


def test_every_sound_has_a_licence_and_a_place_where_it_is_stated():
    assert all(sound.licence and sound.stated_in and sound.package for sound in SOUNDS)
    assert len({sound.name for sound in SOUNDS}) == len(SOUNDS)


def test_copyleft_sounds_are_never_trained_on():
    for sound in SOUNDS:
        copyleft = sound.licence.startswith(("GPL", "CC-BY-SA"))
        assert sound.held_out or not copyleft or "exception for compositions" in sound.licence


def test_only_installed_sounds_are_found():
    assert find_sounds() == [sound for sound in SOUNDS if sound.path.exists()]


def test_missing_soundfonts_are_reported_with_the_packages_to_install():
    with pytest.raises(
        SynthesisError, match=r"no soundfont is installed.*apt-get install.*fluid-soundfont-gm"
    ):
        choose_sounds([], held_out=False)
    with pytest.raises(SynthesisError, match=r"no held-out soundfont.*timgm6mb-soundfont"):
        choose_sounds([], held_out=True)

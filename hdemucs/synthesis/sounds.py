"""Every recorded sound that songs are made from, with the Debian package that contains it and its licence.

Trained weights and demo clips are distributed under the MIT licence, so the sounds behind them must allow it.
Sounds whose licence is copyleft, share-alike or unclear are therefore held out: they appear only in held-out
songs, which evaluate a model and are never distributed. Held-out songs thus have instruments that models
were not trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdemucs.errors import SynthesisError


@dataclass(frozen=True)
class Sound:
    """A soundfont, a drum kit, or a folder of one-shot drum samples.

    Attributes:
        name: Name in this table and in a song's description.
        kind: `soundfont` (sf2 or sf3), `kit` (a Hydrogen drum kit) or `one-shots` (a folder of audio files).
        path: Path at which the package installs it.
        package: Debian package that contains it.
        licence: SPDX identifier, or a short description where there is none.
        stated_in: File or place that states the licence.
        character: `acoustic` or `electronic` for drums; empty for soundfonts, which contain both.
        held_out: Whether it is reserved for held-out songs.
    """

    name: str
    kind: str
    path: Path
    package: str
    licence: str
    stated_in: str
    character: str = ""
    held_out: bool = False


def _soundfont(
    name: str, path: str, package: str, licence: str, stated_in: str, held_out: bool = False
) -> Sound:
    return Sound(name, "soundfont", Path(path), package, licence, stated_in, "", held_out)


def _kit(folder: str, package: str, licence: str, character: str, held_out: bool = False) -> Sound:
    path = Path("/usr/share/hydrogen/data/drumkits") / folder
    stated_in = f"/usr/share/doc/{package}/copyright"
    return Sound(folder, "kit", path, package, licence, stated_in, character, held_out)


_AUTHOR_GRANTS_ALL = "GPL-2.0-or-later; the author grants Debian's packager all rights (e-mail quoted there)"
_COMPOSITION_EXCEPTION = "GPL-2.0-or-later with an exception for compositions made with it"

SOUNDS: tuple[Sound, ...] = (
    _soundfont(
        "FluidR3_GM",
        "/usr/share/sounds/sf2/FluidR3_GM.sf2",
        "fluid-soundfont-gm",
        "MIT",
        "/usr/share/doc/fluid-soundfont-gm/copyright",
    ),
    _soundfont(
        "MuseScore_General",
        "/usr/share/sounds/sf2/MuseScore_General_Full.sf2",
        "musescore-general-soundfont-lossless",
        "MIT, parts CC0-1.0 or public domain",
        "/usr/share/doc/musescore-general-soundfont-lossless/copyright",
    ),
    _soundfont(
        "GeneralUser_GS",
        "/usr/share/minuet/soundfonts/GeneralUser-v1.47.sf2",
        "minuet-data",
        "GeneralUser GS License v2.0 (free use in music; origin of some samples unsure)",
        "comment chunk of the soundfont",
        held_out=True,
    ),
    _soundfont(
        "TimGM6mb",
        "/usr/share/sounds/sf2/TimGM6mb.sf2",
        "timgm6mb-soundfont",
        "GPL-2.0",
        "/usr/share/doc/timgm6mb-soundfont/copyright",
        held_out=True,
    ),
    _kit("rumpf_kit_z01_h2", "hydrogen-drumkits", "CC-BY-3.0, Emanuel Rumpf", "acoustic"),
    _kit("ColomboAcousticDrumkit", "hydrogen-drumkits", _COMPOSITION_EXCEPTION, "acoustic"),
    _kit("Audiophob", "hydrogen-drumkits", "CC0-1.0", "electronic"),
    _kit("Millo_MultiLayered3", "hydrogen-drumkits", "GPL-2.0", "acoustic", held_out=True),
    _kit("Millo-Drums_v.1", "hydrogen-drumkits", "GPL-2.0", "acoustic", held_out=True),
    _kit("ForzeeStereo", "hydrogen-drumkits", "GPL-2.0", "acoustic", held_out=True),
    _kit("The Black Pearl 1.0", "hydrogen-drumkits", "GPL-2.0", "acoustic", held_out=True),
    _kit("VariBreaks", "hydrogen-drumkits", _AUTHOR_GRANTS_ALL, "acoustic", held_out=True),
    _kit("ElectricEmpireKit", "hydrogen-drumkits", _AUTHOR_GRANTS_ALL, "electronic", held_out=True),
    _kit("HardElectro1", "hydrogen-drumkits", _AUTHOR_GRANTS_ALL, "electronic", held_out=True),
    _kit("GMRockKit", "hydrogen-data", "GPL-2.0-or-later", "acoustic", held_out=True),
    _kit("TR808EmulationKit", "hydrogen-data", "GPL-2.0-or-later", "electronic", held_out=True),
    Sound(
        "sonic-pi",
        "one-shots",
        Path("/usr/share/sonic-pi/samples"),
        "sonic-pi-samples",
        "CC0-1.0",
        "/usr/share/doc/sonic-pi-samples/copyright",
        "electronic",
    ),
)
"""All recorded sounds except the singers, which `voice/voices.py` lists."""


def find_sounds() -> list[Sound]:
    """The sounds of `SOUNDS` that are installed on this machine, in the table's order."""
    return [sound for sound in SOUNDS if sound.path.exists()]


def choose_sounds(sounds: Sequence[Sound], held_out: bool) -> list[Sound]:
    """Keep either the sounds for training songs or those for held-out songs.

    Args:
        sounds: Sounds to choose from, such as those of `find_sounds`.
        held_out: Whether to keep the held-out sounds.

    Raises:
        SynthesisError: No soundfont is left; the message names the packages to install.
    """
    chosen = [sound for sound in sounds if sound.held_out == held_out]
    if not any(sound.kind == "soundfont" for sound in chosen):
        raise SynthesisError(f"no {'held-out ' * held_out}soundfont is installed; {install_advice(held_out)}")
    return chosen


def install_advice(held_out: bool) -> str:
    """Command that installs the training or held-out sounds, for the end of an error message."""
    packages = sorted({sound.package for sound in SOUNDS if sound.held_out == held_out})
    return f"on Debian: apt-get install libfluidsynth3 {' '.join(packages)}"

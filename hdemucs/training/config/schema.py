"""Schema of a training configuration: type, default, range and help text of every key.

A configuration is a YAML file with these keys, read and checked by `hdemucs.training.config.load`. The
defaults are the recipe of Hybrid Demucs (arXiv 2111.03600, sections 4 and 5); the files in `configs/` say
where each published run differs.
"""

# ruff: noqa: RUF009 (`key` makes fields)
import types
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from hdemucs.optim.factory import OptimizerKind
from hdemucs.training.objective.losses import LossKind


def key(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    length: int | None = None,
    fixed: bool = False,
) -> Any:
    """Define a dataclass field with a help text and the range of its value, or of each item in it.

    Args:
        default: Default value. A list or mapping is copied for each instance; a dataclass is instantiated.
        help: One line for `hdemucs train --keys`, with the unit.
        least: Inclusive lower bound; None for no bound.
        most: Inclusive upper bound; None for no bound.
        above: Exclusive lower bound; None for no bound.
        below: Exclusive upper bound; None for no bound.
        length: Required number of items of a list; None for any number.
        fixed: Whether a run keeps the value it began with, since its checkpoints would not fit another.
    """
    limits = {"least": least, "most": most, "above": above, "below": below, "length": length}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    metadata = {"help": help, "fixed": fixed, **given}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class SynthesisSettings:
    """Songs synthesised during training."""

    songs: int = key(0, "songs synthesised for each epoch, in addition to those in data; 0: none", least=0)
    seconds: float = key(32.0, "duration of a synthesised song, in seconds", least=1, most=600)
    jobs: int = key(1, "processes that synthesise the next epoch's songs", least=1)


@dataclass
class ExcerptSettings:
    """Excerpts cut from the songs."""

    sample_rate: int = key(
        44100,
        "sample rate of the network, in Hz; songs at other rates are resampled when read",
        least=1000,
        fixed=True,
    )
    audio_channels: int = key(
        2, "channels of each stem; songs with another number are remixed", least=1, fixed=True
    )
    segment: float = key(10.0, "duration of the segments the network is trained on, in seconds", above=0)
    shift: float = key(1.0, "maximum random shift of each stem in time, in seconds", least=0)
    stride: float = key(1.0, "time between the starts of consecutive excerpts, in seconds", above=0)
    workers: int = key(4, "processes that read excerpts; 0: the training process reads them itself", least=0)


@dataclass
class RepitchSettings:
    """Change of tempo and pitch, the same for all stems of an excerpt."""

    probability: float = key(
        0.2, "fraction of the excerpts whose tempo and pitch are changed; 0: none", least=0, most=1
    )
    max_tempo: float = key(
        0.12, "maximum change of tempo, as a fraction: 0.12 is 12 percent", least=0, below=1
    )
    tempo_std: float = key(0.05, "standard deviation of the change of tempo, as a fraction", least=0)
    max_pitch: int = key(2, "maximum change of pitch, in semitones", least=0, most=12)


@dataclass
class AugmentSettings:
    """Random changes of the stems."""

    flip_channels: bool = key(True, "swap left and right in half of the stems")
    flip_sign: bool = key(True, "invert the polarity of half of the stems")
    gain: list[float] = key(
        [0.25, 1.25], "smallest and largest factor by which a stem is multiplied", least=0, length=2
    )
    remix_group: int = key(
        4, "number of examples whose stems are shuffled among one another; 0: none", least=0
    )
    mute: float = key(0.0, "fraction of the stems that are silenced", least=0, below=1)
    mono: float = key(0.0, "fraction of the examples that are made mono", least=0, most=1)
    repitch: RepitchSettings = key(RepitchSettings, "change of tempo and pitch")


@dataclass
class LossSettings:
    """Distance between estimated and true stems."""

    kind: LossKind = key("l1", "distance between estimated and true stems")
    weights: dict[str, float] = key({}, "weight of each source in the loss, by name; 1 if not given", least=0)


@dataclass
class OptimizerSettings:
    """Optimiser, its learning rate and gradient clipping."""

    kind: OptimizerKind = key("adam", "optimiser", fixed=True)
    lr: float = key(3e-4, "learning rate", above=0)
    decay: float = key(
        0.0, "fraction of all steps, at the end, in which the learning rate falls to 0", least=0, most=1
    )
    betas: list[float] = key(
        [0.9, 0.999],
        "decays of Adam's running means of the gradient and of its square",
        least=0,
        below=1,
        length=2,
    )
    clip: float | None = key(None, "maximum norm of the gradient; null: no limit", above=0)


@dataclass
class PenaltySettings:
    """Penalty on the squared largest singular value of each large weight (arXiv 2111.03600)."""

    weight: float = key(1e-5, "weight of the singular value penalty relative to the loss; 0: none", least=0)
    rank: int = key(1, "rank of the penalty's randomised SVD; higher is more accurate and slower", least=1)
    iterations: int = key(2, "power iterations of the penalty's randomised SVD", least=0)
    smallest: int = key(26215, "number of values in the smallest weight that is penalised", least=1)


@dataclass
class AverageSettings:
    """Exponential moving averages of the weights, each validated in addition to the weights themselves."""

    per_batch: list[float] = key(
        [0.9995, 0.9999], "decays of the weight averages updated every step", least=0, below=1, fixed=True
    )
    per_epoch: list[float] = key(
        [0.9, 0.95], "decays of the weight averages updated every epoch", least=0, below=1, fixed=True
    )


@dataclass
class ValidationSettings:
    """Which songs are held out, and how the best weights are selected."""

    every: int = key(1, "epochs between validations; the last epoch always ends with one", least=1)
    select: Literal["sdr", "loss"] = key(
        "sdr", "how the best weights are selected: highest SDR or lowest loss", fixed=True
    )
    songs: list[str] | None = key(
        None, "names of the validation songs; null: those in valid/, MusDB's 14, or a share", fixed=True
    )
    share: float = key(
        0.1, "fraction of the songs to hold out if none are given or known", above=0, below=1, fixed=True
    )
    overlap: float = key(
        0.25, "overlap of neighbouring segments in validation, as a fraction", least=0, below=1
    )


@dataclass
class Config:
    """Configuration of a training run."""

    data: list[str] = key([], "folder of songs, or a list of folders")
    synthesis: SynthesisSettings = key(SynthesisSettings, "songs synthesised during training")
    sources: list[str] | None = key(
        None, "names of the stems; null: those found in data, or those of the model given as init", fixed=True
    )
    model: dict[str, Any] = key({}, "architecture, such as HDemucs, and settings of that network", fixed=True)
    init: str | None = key(
        None,
        "model to fine-tune: a name, a file or hf://user/repo, with #k for member k of a bag",
        fixed=True,
    )
    freeze: list[str] = key(
        [], "name patterns of parameters that are not trained, such as encoder.*", fixed=True
    )
    excerpts: ExcerptSettings = key(ExcerptSettings, "excerpts cut from the songs")
    augment: AugmentSettings = key(AugmentSettings, "random changes of the stems")
    loss: LossSettings = key(LossSettings, "distance between estimated and true stems")
    optimizer: OptimizerSettings = key(OptimizerSettings, "optimiser and learning rate")
    penalty: PenaltySettings = key(PenaltySettings, "singular value penalty")
    averages: AverageSettings = key(AverageSettings, "averages of the weights")
    validation: ValidationSettings = key(ValidationSettings, "validation songs and checkpoint selection")
    batch_size: int = key(64, "examples per step, over all devices and all accumulated parts", least=1)
    accumulate: int = key(
        1, "parts of a batch that a device processes one after another, to save memory", least=1
    )
    epochs: int = key(600, "number of epochs", least=1)
    steps_per_epoch: int | None = key(
        None, "steps per epoch; null: enough to use every excerpt once", least=1
    )
    precision: Literal["no", "bf16", "fp16"] = key("no", "mixed precision: no (float32), bf16 or fp16")
    compile: bool = key(False, "compile the network with torch.compile: slower start, faster steps")
    device: Literal["cpu", "cuda"] | None = key(None, "cpu or cuda; null: cuda if available")
    checkpoint_minutes: float = key(10.0, "minutes between checkpoints within an epoch", above=0)
    seed: int = key(0, "seed of all random numbers", least=0, fixed=True)


def fixed_settings(config: Config) -> dict[str, Any]:
    """Settings that a run keeps from its beginning to its end, by dotted name."""
    return {name: value for name, item, value in leaves(config) if item.metadata["fixed"]}


class ConfigKey(NamedTuple):
    """Description of a key.

    Attributes:
        name: Dotted name.
        type: Type in words.
        default: Default value, as written in YAML.
        help: What it sets, with the unit.
    """

    name: str
    type: str
    default: Any
    help: str


def leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Field, Any]]:
    """Yield dotted name, field and value of each key of a `Config`, or of one of its sections, in order."""
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, value


def describe() -> list[ConfigKey]:
    """Describe all keys, in the order of the schema."""
    return [
        ConfigKey(name, type_in_words(item.type), value, item.metadata["help"])
        for name, item, value in leaves(Config())
    ]


TYPES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list[str]: "one or a list of names",
    list[float]: "a list of numbers",
    dict[str, float]: "names with numbers",
    dict[str, Any]: "names with values",
}


def type_in_words(annotation: Any) -> str:
    """Describe a type in words: `list[float] | None` is "a list of numbers, or null"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, types.UnionType):
        return f"{type_in_words(arguments[0])}, or null"
    return TYPES[annotation]

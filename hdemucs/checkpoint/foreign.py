"""Names, settings and weights of other packages' Hybrid Demucs in this library's terms.

The package `demucs` builds layers as numbered sequences; here they have names. Its convolutions over time
are one-dimensional; `build.fit_weights` gives them their frequency axis.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor

from hdemucs.checkpoint.build import listing
from hdemucs.errors import CheckpointError

CLASSES: Mapping[str, str] = {"demucs.hdemucs.HDemucs": "HDemucs", "demucs.demucs.Demucs": "Demucs"}
"""Classes of the package `demucs` that a file may name, and what they are called here."""

_RESIDUAL = ("none", "encoder", "decoder", "both")

_SHARED = {
    "sources": "sources",
    "audio_channels": "audio_channels",
    "channels": "channels",
    "depth": "depth",
    "norm_starts": "norm_starts",
    "norm_groups": "norm_groups",
    "dconv_attn": "attention_starts",
    "dconv_lstm": "lstm_starts",
    "samplerate": "sample_rate",
    "segment": "segment",
}
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "HDemucs": {
        **_SHARED,
        "nfft": "n_fft",
        "hybrid": "hybrid",
        "wiener_iters": "wiener_iters",
        "hybrid_old": "old_padding",
    },
    "Demucs": {
        **_SHARED,
        "rewrite": "rewrite",
        "lstm_layers": "lstm_layers",
        "normalize": "normalize",
        "resample": "resample",
    },
}
_FIXED: Mapping[str, Mapping[str, Any]] = {
    "HDemucs": {
        "channels_time": None,
        "wiener_residual": False,
        "rewrite": True,
        "multi_freqs_depth": 2,
        "emb_scale": 10,
        "time_stride": 2,
        "context_enc": 0,
    },
    "Demucs": {"glu": True},
}
_FIXED_SHARED: Mapping[str, Any] = {
    "growth": 2,
    "kernel_size": 8,
    "stride": 4,
    "context": 1,
    "dconv_depth": 2,
    "dconv_comp": 4,
}
_TRAINING_ONLY = {"end_iters", "emb_smooth", "dconv_init", "rescale"}
_POSITIONAL = ("sources", "audio_channels", "channels")
"""First parameters of both classes, in case a file was saved with settings by position."""


def translate_settings(architecture: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of `demucs`' class as those of the class of the same name here.

    Raises:
        CheckpointError: a setting that no published checkpoint has, and so neither has this library.
    """
    if len(args) > len(_POSITIONAL):
        raise CheckpointError("it was saved with settings by position that cannot be told apart")
    settings = {**dict(zip(_POSITIONAL, args, strict=False)), **kwargs}
    out: dict[str, Any] = {}
    fixed = {**_FIXED_SHARED, **_FIXED[architecture]}
    for name, value in settings.items():
        if name in _RENAMED[architecture]:
            out[_RENAMED[architecture][name]] = float(value) if isinstance(value, Fraction) else value
        elif name in fixed:
            if value != fixed[name]:
                raise CheckpointError(
                    f"its setting {name}={value!r:.40} is not supported, only {fixed[name]}"
                )
        elif name == "cac":
            out["spectrogram"] = "complex" if value else "amplitude"
        elif name == "multi_freqs":
            out["bands"] = list(value or [])
        elif name == "freq_emb":
            out["freq_emb"] = value or 0.0
        elif name == "gelu":
            out["activation"] = "gelu" if value else "relu"
        elif name == "dconv_mode" and value in range(4):
            out["residual"] = _RESIDUAL[value]
        elif name not in _TRAINING_ONLY:
            raise CheckpointError(f"its setting {name}={value!r:.40} is not supported")
    return out


def torchaudio_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments of `torchaudio.models.hdemucs_high` from the shapes in a state dict, which has
    none: torchaudio publishes one architecture, for drums, bass, other and vocals in stereo at 44.1 kHz.

    Raises:
        CheckpointError: the shapes are of another one, whose sample rate and sources nobody can know.
    """
    depth = len({name.split(".")[1] for name in state if name.startswith("freq_encoder.")})
    try:
        frequencies, channels = state["freq_emb.embedding.weight"].shape
        outputs = state[f"time_decoder.{depth - 2}.conv_tr.weight"].shape[1]
    except (KeyError, ValueError, IndexError):
        outputs = frequencies = channels = 0
    if (depth, outputs, frequencies) != (6, 8, 512):
        raise CheckpointError(
            "its state dict is not of torchaudio's hdemucs_high; build the model in Python, load the state "
            "with hdemucs.checkpoint.translate_weights and save it with hdemucs.checkpoint.save"
        )
    return {"sources": ["drums", "bass", "other", "vocals"], "channels": channels}


def translate_weights(architecture: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of `demucs`' or torchaudio's class under the names of the class of the same name here."""
    if architecture == "HDemucs":
        state = {_rename_branch(name): value for name, value in state.items()}
        # torchaudio keeps a normalisation that is never used where the branches meet.
        unused = re.compile(r"(time_encoder\.\d+)\.norm1\..+")
        for name in [name for name in state if unused.fullmatch(name)]:
            if f"{name.split('.norm1')[0]}.rewrite.weight" not in state:
                del state[name]
    else:
        state = _name_sequences(state)
    return _name_residual_layers(state)


def _rename_branch(name: str) -> str:
    first, _, rest = name.partition(".")
    renamed = {
        "encoder": "freq_encoder",
        "decoder": "freq_decoder",
        "tencoder": "time_encoder",
        "tdecoder": "time_decoder",
        "freq_emb": "embedding",
    }
    return f"{renamed.get(first, first)}.{rest}".replace(".dconv.", ".residual.")


def _name_sequences(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names for the numbered modules of the waveform model's layers."""
    names = {half: _layer_names(half, state) for half in ("encoder", "decoder")}
    out = {}
    for name, value in state.items():
        match = re.fullmatch(r"(encoder|decoder)\.(\d+)\.(\d+)\.(.+)", name)
        if match:
            half, layer, number, rest = match.groups()
            if int(number) >= len(names[half]):
                raise CheckpointError(f"it has weights that the network does not: {name}")
            name = f"{half}.{layer}.{names[half][int(number)]}.{rest}"
        out[name] = value
    return out


def _layer_names(half: str, state: Mapping[str, Tensor]) -> list[str]:
    """What the numbers of a layer's sequence stand for, seen from the weights of the first layer."""
    inside = {name.removeprefix(f"{half}.0."): value for name, value in state.items()}
    residual = ["residual"] if any(re.match(r"\d+\.layers\.", name) for name in inside) else []
    convolutions = [
        name for name, value in inside.items() if re.fullmatch(r"\d+\.weight", name) and value.dim() > 1
    ]
    rewrite = len(convolutions) > 1
    if half == "encoder":
        return ["conv", "norm1", "-", *residual, *(["rewrite", "norm2", "-"] if rewrite else [])]
    return [*(["rewrite", "norm1", "-"] if rewrite else []), *residual, "conv_tr", "norm2", "-"]


def _name_residual_layers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names for the numbered modules of residual branches, where LSTM and attention shift the numbers."""
    pattern = re.compile(r"(.+\.residual)\.layers\.(\d+)\.(\d+)\.(.+)")
    out = {}
    for name, value in state.items():
        match = pattern.fullmatch(name)
        if match:
            branch, layer, number, rest = match.groups()
            prefix = f"{branch}.layers.{layer}."
            lstm = f"{prefix}3.lstm.weight_ih_l0" in state
            attention = f"{prefix}{3 + lstm}.query.weight" in state
            modules = ["conv1", "norm1", "-", *["lstm"] * lstm, *["attention"] * attention]
            modules += ["conv2", "norm2", "-", "scale"]
            module = modules[int(number)] if int(number) < len(modules) else "-"
            name = f"{branch}.{layer}.scale" if module == "scale" else f"{branch}.{layer}.{module}.{rest}"
        out[name] = value
    return out


def decode_json(value: Any) -> Any:
    """Settings as the Hugging Face files of `demucs` write them, fractions included."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: decode_json(item) for key, item in value.items()}
    return [decode_json(item) for item in value] if isinstance(value, list) else value


def architecture_of(klass: str) -> str:
    """Architecture of a class that a file names; CheckpointError for any class but the known ones."""
    if klass not in CLASSES:
        raise CheckpointError(f"it names the class {klass!r:.60}, only {listing(CLASSES)} can be loaded")
    return CLASSES[klass]

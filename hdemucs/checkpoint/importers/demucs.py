"""Models of the package `demucs`: classes, settings and weights, translated to those of this library.

`demucs` builds layers as numbered sequences, where this library's have names. Its convolutions over time are
one-dimensional; `checkpoint.build.fit_weights` adds the frequency axis.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hdemucs.checkpoint.build import build, listing
from hdemucs.checkpoint.limits import fraction
from hdemucs.errors import CheckpointError
from hdemucs.model import Demucs, HDemucs, HTDemucs, Network

_RESIDUAL = ("none", "encoder", "decoder", "both")
_POSITIONAL = ("sources", "audio_channels", "channels")
"""First constructor parameters of all classes, for files that were saved with positional settings."""

_RENAMED = {
    "sources": "sources",
    "audio_channels": "audio_channels",
    "channels": "channels",
    "depth": "depth",
    "samplerate": "sample_rate",
    "segment": "segment",
}
_BRANCHES = {
    "norm_starts": "norm_starts",
    "norm_groups": "norm_groups",
    "dconv_attn": "attention_starts",
    "dconv_lstm": "lstm_starts",
}
_FIXED: Mapping[str, Any] = {
    "growth": 2,
    "kernel_size": 8,
    "stride": 4,
    "context": 1,
    "dconv_depth": 2,
}
_HYBRID_FIXED: Mapping[str, Any] = {
    **_FIXED,
    "channels_time": None,
    "wiener_residual": False,
    "rewrite": True,
    "emb_scale": 10,
    "time_stride": 2,
    "context_enc": 0,
}
_TRAINING_ONLY = frozenset(["end_iters", "emb_smooth", "dconv_init", "rescale"])
_TRANSFORMER_FIXED: Mapping[str, Any] = {
    "t_emb": "sin",
    "t_max_period": 10000.0,
    "t_weight_pos_embed": 1.0,
    "t_sin_random_shift": 0,
    "t_norm_in": True,
    "t_norm_first": True,
    "t_norm_out": True,
    "t_group_norm": False,
    "t_layer_scale": True,
    "t_gelu": True,
    "t_cross_first": False,
    "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False,
}
_TRANSFORMER_IGNORED = frozenset(
    [
        "t_weight_decay",
        "t_lr",
        "t_max_positions",
        "t_norm_in_group",
        "t_cape_mean_normalize",
        "t_cape_augment",
        "t_cape_glob_loc_scale",
        "t_mask_type",
        "t_mask_random_seed",
        "t_sparse_attn_window",
        "t_global_window",
        "t_sparsity",
        "t_auto_sparsity",
        "norm_groups",
    ]
)
"""Settings of `HTDemucs` that only matter in training, or with values of other settings that no file has."""


@dataclass(frozen=True)
class ForeignClass:
    """A class of `demucs`, and its translation to a network of this library.

    Attributes:
        network: This library's network of the same architecture.
        renamed: Names of settings in this library, by their names in `demucs`.
        fixed: Settings of `demucs` that have the same value in every published model, with that value.
        rename_weights: Function that renames the weights, except those of residual branches.
        ignored: Settings of `demucs` without effect on a trained network.
        defaults: Defaults of `demucs` that differ from those of this library, for settings that a file omits.
    """

    network: type[Network]
    renamed: Mapping[str, str]
    fixed: Mapping[str, Any]
    rename_weights: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    ignored: frozenset[str] = _TRAINING_ONLY
    defaults: Mapping[str, Any] = field(default_factory=dict)


def import_class(path: str, args: Any, kwargs: Any, state: Mapping[str, Tensor]) -> Network:
    """Build the network that a file describes by a class of `demucs`, its arguments and its weights.

    Args:
        path: Full name of the class, such as `demucs.hdemucs.HDemucs`.
        args: Positional arguments of its constructor.
        kwargs: Keyword arguments of its constructor.
        state: Weights by their names in `demucs`.

    Raises:
        CheckpointError: The class is unknown, or settings or weights do not fit it. The message does not name
            the file.
    """
    if path not in CLASSES:
        raise CheckpointError(f"it names the class {path!r:.60}, only {listing(CLASSES)} can be loaded")
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise CheckpointError("its settings are not a list and a dictionary")
    name = CLASSES[path].network.__name__
    return build(name, translate_settings(name, args, kwargs), translate_weights(name, state))


def translate_settings(architecture: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Translate constructor arguments of a class of `demucs` to settings of this library's network.

    Args:
        architecture: Name of the network, which the class in `demucs` has too.
        args: Positional arguments.
        kwargs: Keyword arguments.

    Raises:
        CheckpointError: A setting is unknown, or has a value that no published checkpoint has.
    """
    foreign = _BY_NETWORK[architecture]
    if len(args) > len(_POSITIONAL):
        raise CheckpointError("it was saved with more positional settings than can be told apart")
    settings = {**foreign.defaults, **dict(zip(_POSITIONAL, args, strict=False)), **kwargs}
    if not settings.get("multi_freqs"):
        # Without bands, their depth has no effect; most published files have another than the one with bands.
        settings.pop("multi_freqs", None)
        settings.pop("multi_freqs_depth", None)
    out: dict[str, Any] = {}
    for name, value in settings.items():
        if name in foreign.ignored:
            continue
        if name in foreign.renamed:
            out[foreign.renamed[name]] = value
        elif name in foreign.fixed:
            if value != foreign.fixed[name]:
                raise CheckpointError(
                    f"its setting {name}={value!r:.40} is not supported, only {foreign.fixed[name]}"
                )
        elif name == "cac":
            out["spectrogram"] = "complex" if value else "amplitude"
        elif name == "multi_freqs":
            out["bands"] = value
        elif name == "freq_emb":
            out["freq_emb"] = value or 0.0
        elif name == "gelu":
            out["activation"] = "gelu" if value else "relu"
        elif name == "dconv_mode" and value in range(4):
            out["residual"] = _RESIDUAL[value]
        else:
            raise CheckpointError(f"its setting {name}={value!r:.40} is not supported")
    return out


def translate_weights(architecture: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a model of `demucs` or torchaudio to those of this library's network.

    Args:
        architecture: Name of the network, a key of `hdemucs.model.NETWORKS`; the foreign class has it too.
        state: State dict of the foreign model.

    Returns:
        State dict of this library's network, except that 1-D convolutions still lack their frequency axis.

    Raises:
        CheckpointError: A weight belongs to no layer of the network.
    """
    return _name_residual_layers(_BY_NETWORK[architecture].rename_weights(state))


def _rename_hdemucs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = {_rename_branch(name): value for name, value in state.items()}
    # Where the branches meet, torchaudio has a normalisation that is never used.
    unused = re.compile(r"(time_encoder\.\d+)\.norm1\..+")
    for name in [name for name in out if unused.fullmatch(name)]:
        if f"{name.split('.norm1')[0]}.rewrite.weight" not in out:
            del out[name]
    return out


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


def _rename_htdemucs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    for name, value in state.items():
        if match := re.fullmatch(r"channel_(up|down)sampler(_t)?\.(.+)", name):
            way, time, rest = match.groups()
            # A convolution of width 1 there, a linear layer here.
            value = value.flatten(1) if value.dim() == 3 else value
            name = f"{_BRANCH[time]}.{'project_in' if way == 'up' else 'project_out'}.{rest}"
        elif match := re.fullmatch(r"crosstransformer\.norm_in(_t)?\.(.+)", name):
            name = f"{_BRANCH[match[1]]}.norm_in.{match[2]}"
        elif match := re.fullmatch(r"crosstransformer\.layers(_t)?\.(\d+)\.(\w+)\.(.+)", name):
            time, layer, module, rest = match.groups()
            cross = f"crosstransformer.layers{time or ''}.{layer}.norm3.weight" in state
            module = _TRANSFORMER_MODULES[cross].get(module, module)
            name = f"{_BRANCH[time]}.layers.{layer}.{module}" + (f".{rest}" if rest != "scale" else "")
        else:
            name = _rename_branch(name)
        out[name] = value
    return out


_BRANCH = {None: "transformer.freq", "_t": "transformer.time"}
_TRANSFORMER_MODULES: Mapping[bool, Mapping[str, str]] = {
    False: {
        "norm1": "norm_query",
        "norm2": "norm_hidden",
        "self_attn": "attention",
        "gamma_1": "attention_scale",
        "gamma_2": "hidden_scale",
    },
    True: {
        "norm1": "norm_query",
        "norm2": "norm_context",
        "norm3": "norm_hidden",
        "cross_attn": "attention",
        "gamma_1": "attention_scale",
        "gamma_2": "hidden_scale",
    },
}
"""Names of the modules of a transformer layer, without and with cross-attention."""


def _name_demucs_layers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the numbered modules of the waveform model's layers."""
    names = {half: _layer_names(half, state) for half in ("encoder", "decoder")}
    out = {}
    for name, value in state.items():
        match = re.fullmatch(r"(encoder|decoder)\.(\d+)\.(\d+)\.(.+)", name)
        if match:
            half, layer, number, rest = match.groups()
            if int(number) >= len(names[half]):
                raise CheckpointError(f"it has weights that the network does not have: {name}")
            name = f"{half}.{layer}.{names[half][int(number)]}.{rest}"
        out[name] = value
    return out


def _layer_names(half: str, state: Mapping[str, Tensor]) -> list[str]:
    """Names for the positions in a layer's sequence, inferred from the weights of the first layer."""
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
    """Name the numbered modules of residual branches, in which LSTM and attention shift the numbers."""
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


CLASSES: Mapping[str, ForeignClass] = {
    "demucs.hdemucs.HDemucs": ForeignClass(
        HDemucs,
        {
            **_RENAMED,
            **_BRANCHES,
            "nfft": "n_fft",
            "hybrid": "hybrid",
            "wiener_iters": "wiener_iters",
            "hybrid_old": "old_padding",
        },
        {**_HYBRID_FIXED, "dconv_comp": 4, "multi_freqs_depth": 2},
        _rename_hdemucs,
    ),
    "demucs.htdemucs.HTDemucs": ForeignClass(
        HTDemucs,
        {
            **_RENAMED,
            "nfft": "n_fft",
            "bottom_channels": "bottom_channels",
            "t_layers": "layers",
            "t_heads": "heads",
            "t_hidden_scale": "hidden_scale",
            "t_dropout": "dropout",
        },
        {
            **_HYBRID_FIXED,
            **_TRANSFORMER_FIXED,
            "cac": True,
            "wiener_iters": 0,
            "multi_freqs": [],
            # Beyond the last layer of every published model: there is no normalisation.
            "norm_starts": 4,
            "dconv_mode": 3,
            "dconv_comp": 8,
            "use_train_segment": True,
        },
        _rename_htdemucs,
        _TRAINING_ONLY | _TRANSFORMER_IGNORED,
        {"dconv_mode": 1, "bottom_channels": 0, "segment": 10},
    ),
    "demucs.demucs.Demucs": ForeignClass(
        Demucs,
        {
            **_RENAMED,
            **_BRANCHES,
            "rewrite": "rewrite",
            "lstm_layers": "lstm_layers",
            "normalize": "normalize",
            "resample": "resample",
        },
        {**_FIXED, "dconv_comp": 4, "glu": True},
        _name_demucs_layers,
    ),
}
"""The classes of `demucs` that a file may name, by full name."""

_BY_NETWORK = {foreign.network.__name__: foreign for foreign in CLASSES.values()}


def decode_json(value: Any) -> Any:
    """Decode settings from JSON as `demucs` writes it for the Hugging Face Hub, with fractions as objects."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return fraction(value["numerator"], value["denominator"])
        return {key: decode_json(item) for key, item in value.items()}
    return [decode_json(item) for item in value] if isinstance(value, list) else value

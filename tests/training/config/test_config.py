"""Training configurations: the published ones, overrides, mistakes, and reading back what was written."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hdemucs.errors import TrainingError
from hdemucs.model import NETWORKS
from hdemucs.optim.factory import OPTIMIZERS
from hdemucs.training.config.load import dump, load_config
from hdemucs.training.config.published import config_names, configs_folder
from hdemucs.training.config.schema import Config, describe, leaves
from hdemucs.training.objective.losses import LOSSES

Load = Callable[..., Config]
SOURCES = ["drums", "bass", "other", "vocals"]
MILLIONS = {
    "hdemucs_musdb": 83.638,
    "htdemucs_musdb": 41.984,
    "demucs_musdb": 133.753,
    "demucs_v2": 265.679,
    "hdemucs_small": 9.338,
    "debug": 0.066,
}
"""Millions of parameters of the networks that the configurations train from scratch."""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(*overrides, **content)`: loads a configuration file with this content and a folder of data."""

    def load(*overrides: str, **content: Any) -> Config:
        path = tmp_path / "my.yaml"
        path.write_text(yaml.safe_dump({"data": str(tmp_path), **content}))
        return load_config(str(path), overrides)

    return load


def mistakes(load: Load, *overrides: str, **content: Any) -> list[str]:
    """Mistakes in the error message, without the first line that counts them if there are several."""
    with pytest.raises(TrainingError) as caught:
        load(*overrides, **content)
    first, *others = [line.strip() for line in str(caught.value).splitlines()]
    return sorted(others) or [first]


def test_every_published_configuration_is_tested_here():
    assert config_names() == sorted([*MILLIONS, "finetune"])


@pytest.mark.parametrize("name", MILLIONS)
def test_published_network_has_its_size(name: str, tmp_path: Path):
    config = load_config(name, [f"data={tmp_path}"])
    arguments = dict(config.model)
    architecture = NETWORKS[arguments.pop("architecture")]
    with torch.device("meta"):
        model = architecture(sources=SOURCES, sample_rate=config.excerpts.sample_rate, **arguments)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == MILLIONS[name]


def test_hybrid_demucs_is_trained_as_published(tmp_path: Path):
    config = load_config("hdemucs_musdb", [f"data={tmp_path}"])
    assert (config.batch_size, config.epochs, config.optimizer.lr) == (64, 600, 3e-4)
    assert (config.penalty.weight, config.penalty.rank, config.penalty.iterations) == (1e-5, 100, 4)
    assert config.averages.per_batch == [0.9995, 0.9999]
    assert config.loss.kind == "l1"


def test_hybrid_transformer_demucs_is_trained_as_published(tmp_path: Path):
    config = load_config("htdemucs_musdb", [f"data={tmp_path}"])
    assert (config.batch_size, config.excerpts.segment, config.model["dropout"]) == (32, 7.8, 0.02)
    with pytest.raises(TrainingError, match=r"model\.segment=10: is set by excerpts\.segment"):
        load_config("htdemucs_musdb", [f"data={tmp_path}", "model.segment=10"])


def test_fine_tuning_needs_a_model(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"finetune\.yaml: init: must be given"):
        load_config("finetune", [f"data={tmp_path}"])
    config = load_config("finetune", [f"data={tmp_path}", "init=hdemucs_high_musdb"])
    assert config.init == "hdemucs_high_musdb"
    assert config.model == {}


def test_debug_lists_every_key():
    content = yaml.safe_load((configs_folder() / "debug.yaml").read_text())

    def names(given: dict[str, Any], section: Any) -> list[str]:
        return [
            f"{name}.{inner}" if inner else name
            for name, value in given.items()
            for inner in (
                names(value, getattr(section, name))
                if dataclasses.is_dataclass(getattr(section, name))
                else [""]
            )
        ]

    assert sorted(names(content, Config())) == sorted(key.name for key in describe())


def test_keys_that_are_not_given_have_their_defaults(load: Load, tmp_path: Path):
    expected = Config(data=[str(tmp_path)], model={"architecture": "HDemucs"})
    assert load() == expected


def test_overrides_win_and_are_converted(load: Load):
    config = load(
        "optimizer.lr=1e-4",
        "epochs=7",
        "excerpts.segment=5",
        "averages.per_batch=[0.5]",
        "compile=true",
        "optimizer.clip=null",
        "epochs=8",
        optimizer={"lr": 1, "clip": 3},
    )
    assert config.optimizer.lr == 1e-4
    assert (config.epochs, type(config.epochs)) == (8, int)
    assert (config.excerpts.segment, type(config.excerpts.segment)) == (5.0, float)
    assert config.averages.per_batch == [0.5]
    assert config.compile is True
    assert config.optimizer.clip is None


def test_mappings_gain_keys_and_null_empties_them(load: Load):
    model = {"architecture": "HDemucs", "channels": 8}
    assert load("model.n_fft=2048", model=model).model == {**model, "n_fft": 2048}
    weights = {"vocals": 2.0}
    assert load("loss.weights.bass=3", loss={"weights": weights}).loss.weights == {"vocals": 2.0, "bass": 3.0}
    assert load("init=some.th", "model=null", model=model).model == {}
    assert load(optimizer=None).optimizer == Config().optimizer


def test_a_single_name_stands_for_a_list(load: Load, tmp_path: Path):
    config = load("sources=vocals", "validation.songs=[a, b]", "init=x", "freeze=encoder.*")
    assert config.data == [str(tmp_path)]
    assert config.sources == ["vocals"]
    assert config.validation.songs == ["a", "b"]
    assert config.freeze == ["encoder.*"]


def test_folders_become_absolute(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "songs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = str(tmp_path / "songs")
    assert load("data=songs").data == [folder]
    assert load("data=[songs, ~/songs]").data == [folder, folder]


def test_values_may_come_from_the_environment(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUSDB", str(tmp_path))
    assert load(data="${oc.env:MUSDB}").data == [str(tmp_path)]


def test_the_word_no_is_not_false(load: Load, tmp_path: Path):
    assert load("precision=no").precision == "no"
    path = tmp_path / "no.yaml"
    path.write_text(f"data: {tmp_path}\nprecision: no\n")
    assert load_config(str(path)).precision == "no"


@pytest.mark.parametrize("name", [*MILLIONS, "finetune"])
def test_what_is_written_is_read_back_unchanged(name: str, tmp_path: Path):
    config = load_config(name, [f"data={tmp_path}", *(["init=x"] if name == "finetune" else [])])
    path = tmp_path / "config.yaml"
    path.write_text(dump(config))
    assert load_config(str(path)) == config
    assert set(yaml.safe_load(path.read_text())) == {item.name for item in dataclasses.fields(Config)}


def test_all_mistakes_are_reported_at_once_with_their_places(load: Load, tmp_path: Path):
    path = tmp_path / "my.yaml"
    found = mistakes(
        load,
        "optimizer.lr=-1",
        "data=/no/such/folder",
        "segment=4",
        "precision",
        optimiser={"lr": 1},
        loss={"kind": "l3", "weights": {"vocal": 2}},
        sources=["vocals", "drums"],
        model={"chanels": 4, "depth": "deep"},
        batch_size=10,
        accumulate=4,
        epochs=2.5,
    )
    assert found == sorted(
        [
            "optimizer.lr=-1: must be above 0, not -1",
            "data=/no/such/folder: /no/such/folder is not a folder",
            "segment=4: is not a key; did you mean excerpts.segment?",
            "precision: must be key=value",
            f"{path}: optimiser: is not a key; did you mean optimizer?",
            f"{path}: loss.kind: must be one of {', '.join(LOSSES)}, not 'l3'",
            f"{path}: loss.weights.vocal: is not one of the sources, vocals, drums; did you mean vocals?",
            f"{path}: model.chanels: is not a setting of HDemucs; did you mean channels?",
            f"{path}: model.depth: must be a whole number, not 'deep'",
            f"{path}: batch_size: 10 examples cannot be divided into 4 equal parts",
            f"{path}: epochs: must be a whole number, not 2.5",
        ]
    )


def test_the_first_line_counts_the_mistakes(load: Load, tmp_path: Path):
    with pytest.raises(TrainingError) as caught:
        load("epochs=0", "seed=x")
    first = str(caught.value).splitlines()[0]
    assert first == f"{tmp_path / 'my.yaml'}: 2 mistakes in the configuration"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("augment.gain=[2, 1]", "must be the smallest factor, then the largest"),
        ("augment.gain=[1]", "must be a list of 2 numbers"),
        ("augment.remix_group=65", "must be at most 64"),
        ("augment.repitch.probability=1.5", "must be at least 0 and at most 1, not 1.5"),
        ("averages.per_batch=[0.9, 1]", "must be at least 0 and below 1, not 1"),
        ("averages.per_epoch=[0.9, 0.9]", "must be distinct decays"),
        ("checkpoint_minutes=.inf", "must be finite"),
        ("optimizer.lr=.nan", "must be finite"),
        ("optimizer.lr=true", "must be a number, not True"),
        ("optimizer=3", "is a section with keys such as optimizer.kind"),
        ("optimizer.kind=adm", f"must be one of {', '.join(OPTIMIZERS)}, not 'adm'; did you mean adam?"),
        ("excerpts.segment.x=3", "excerpts.segment: must be a number"),
        ("excerpts.segment=0.05", "is too short for this network, which needs at least 0.093 s"),
        ("compile=perhaps", "must be true or false"),
        ("loss.weights={vocals: -1}", "loss.weights.vocals: must be at least 0"),
        ("precision=fp61", "did you mean fp16?"),
        ("data=null", "must be given: a folder of songs"),
        ("sources=[a, a]", "must be one or more distinct names"),
        ("freeze=[encoder.*]", "needs init"),
        ("seed=${nothing}", "cannot be resolved"),
        ("data=${oc.env:HDEMUCS_NO_SUCH_VARIABLE}", "cannot be resolved"),
        ("data=~nobody-of-this-name/songs", "is not a folder"),
        ("seed=[1", "is not valid YAML"),
        ("=3", "must be key=value"),
        ("frobnicate=3", "is not a key; the keys here are data, synthesis, sources"),
        (
            "model.architecture=hdemucs",
            f"must be one of {', '.join(NETWORKS)}, not 'hdemucs'; did you mean HDemucs?",
        ),
        ("model.sample_rate=8000", "is set by excerpts.sample_rate"),
        ("model.channels=3", "is not a valid network: residual branches need at least 4 channels, not 3"),
        ("model.depth=3", "is not a valid network: depth 3 is too small"),
        ("model.depth=99", "must be from 1 to 16, not 99"),
        ("model.spectrogram=power", "must be one of complex, amplitude"),
    ],
)
def test_single_mistakes(load: Load, override: str, expected: str):
    (found,) = mistakes(load, override)
    assert found.startswith(f"{override}: ")
    assert expected in found


def test_at_least_one_source_needs_a_weight(load: Load):
    (found,) = mistakes(load, sources=["a"], loss={"weights": {"a": 0}})
    assert "above 0 for at least one source" in found


def test_a_waveform_network_needs_enough_input_for_one_sample(load: Load):
    (found,) = mistakes(load, "excerpts.segment=0.1", model={"architecture": "Demucs"})
    assert "excerpts.segment=0.1: is too short" in found


def test_init_determines_the_model(load: Load):
    (found,) = mistakes(load, "init=hdemucs_high_musdb", model={"channels": 4})
    assert "is determined by init" in found


def test_a_batch_is_divided_among_the_devices(load: Load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert load("batch_size=16").batch_size == 16
    (indivisible,) = mistakes(load, "batch_size=18")
    assert "18 examples cannot be divided into 1 equal parts on each of 4 devices" in indivisible
    (alone,) = mistakes(load, "batch_size=8")
    assert "augment.remix_group: must be at most 2" in alone


@pytest.mark.parametrize(("cuda", "device"), [(False, "cuda"), (False, None), (True, "cpu")])
def test_settings_that_need_a_gpu_are_rejected_without_one(
    load: Load, monkeypatch: pytest.MonkeyPatch, cuda: bool, device: str | None
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    (found,) = mistakes(load, "precision=fp16", device=device)
    assert "CUDA device" in found


def test_half_precision_is_accepted_where_supported(load: Load, monkeypatch: pytest.MonkeyPatch):
    assert load("precision=bf16", "device=cpu").precision == "bf16"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert load("precision=fp16").precision == "fp16"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n", "must consist of keys and values"),
        ("a: [1\n", "is not valid YAML"),
        ("epochs: 1\nepochs: 2\n", "duplicate key epochs, line 2"),
        ("\0", "is not valid YAML"),
        ("a: \xe9\n".encode("latin-1"), "is not valid YAML"),
    ],
)
def test_files_that_are_not_configurations(tmp_path: Path, content: str | bytes, expected: str):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrainingError, match=r"bad\.yaml") as caught:
        load_config(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dotted_keys_in_a_file(load: Load):
    assert load(**{"optimizer.lr": 0.5}).optimizer.lr == 0.5


def test_unknown_names(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"finetun.*debug, demucs_musdb.*did you mean finetune\?"):
        load_config("finetun")
    with pytest.raises(TrainingError, match="no such file; the named configurations are debug"):
        load_config(str(tmp_path / "none.yaml"))


def test_every_key_is_described():
    keys = describe()
    assert [key.name for key in keys] == [name for name, _, _ in leaves(Config())]
    assert {key.name.partition(".")[0] for key in keys} == {item.name for item in dataclasses.fields(Config)}
    assert all(key.help and key.type for key in keys)
    by_name = {key.name: key for key in keys}
    assert by_name["optimizer.lr"][1:3] == ("a number", 3e-4)
    assert by_name["device"].type == "one of cpu, cuda, or null"
    assert by_name["augment.gain"].default == [0.25, 1.25]

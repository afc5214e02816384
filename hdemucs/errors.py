"""Every exception that a user of hdemucs can see.

The message of each is one line that names the file or the argument, what is wrong with it, and the remedy.
Remedies speak of Python's arguments; where the command has a flag for one, the exception has a class of its
own, and the command states the remedy itself.
"""

from pathlib import Path


class HDemucsError(Exception):
    """Base of all errors that hdemucs raises on purpose; `str(error)` is one line, fit to show to users."""


class AudioError(HDemucsError):
    """A file or array cannot be read as audio, or contains nothing that can be separated."""


class OutputError(HDemucsError):
    """A file cannot be written: because of its folder, its name, its format, or a full disk."""


class StemsExistError(OutputError):
    """Stems of a track exist already, and the caller asked neither to skip the track nor to overwrite them.

    Args:
        path: First file that exists.

    Attributes:
        path: The same.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} exists; choose existing='skip' or existing='overwrite'"


class CheckpointError(HDemucsError):
    """A model file is damaged or unsafe, or describes a network that this library does not have."""


class UnknownModelError(HDemucsError):
    """No model is registered by a name, and no file of that name exists."""


class DownloadError(HDemucsError):
    """A model file cannot be downloaded: no network, a server that refuses, or a wrong checksum."""


class OptionError(HDemucsError, ValueError):
    """An argument has an invalid value: an unknown stem, an overlap of 2, a template without {stem}."""


class EvaluationError(HDemucsError):
    """A folder holds no scores, a file does not contain scores, or two runs have no songs in common."""


class TrainingError(HDemucsError):
    """Songs, a configuration or a run cannot be used for training, or training failed."""


class RunExistsError(TrainingError):
    """A new run cannot start in a folder that already holds one.

    Args:
        folder: Folder of the run.

    Attributes:
        folder: The same.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"{self.folder} already holds a training run; resume it, or choose another folder"


class DatasetError(TrainingError):
    """A folder has no songs that can be trained on, or its `stems.yaml` has mistakes."""


class SynthesisError(HDemucsError):
    """Sounds, voices or packages needed to synthesise songs are missing or damaged."""


class WorkerError(HDemucsError):
    """A worker process was killed from outside, most likely because memory ran out."""


class Cancelled(HDemucsError):
    """The caller stopped a separation by calling `cancel` on a progress event."""


def one_line(error: BaseException) -> str:
    """Message of any exception, on one line of at most 200 characters; its type if it has no message."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def install_extra(extra: str) -> str:
    """Command that installs an extra of `pyproject.toml`, for the end of a message.

    The command installs from the source folder, since hdemucs is on no package index.
    """
    return f"pip install '.[{extra}]' in the hdemucs source folder"

"""Every exception that a user of hdemucs can meet: one line that names the file and the remedy."""


class HDemucsError(Exception):
    """Base of all errors that hdemucs raises on purpose; `str(error)` is one line, fit to be shown."""


class AudioError(HDemucsError):
    """A source cannot be read, or holds nothing that can be separated."""


class OutputError(HDemucsError):
    """Stems cannot be written: the folder, the disk, the format or the file name refuses."""


class CheckpointError(HDemucsError):
    """A model file is damaged, unsafe, or describes a network that this library does not have."""


class UnknownModelError(HDemucsError):
    """A model name is not registered, and no file of that name exists."""


class DownloadError(HDemucsError):
    """A model file cannot be fetched: no network, a refusing server, or a wrong checksum."""


class OptionError(HDemucsError, ValueError):
    """An option has a value that cannot be meant: an unknown stem, an overlap of 2, a bad template."""


class EvaluationError(HDemucsError):
    """A folder of scores has none, or files that are no scores, or nothing that could be compared."""


class TrainingError(HDemucsError):
    """Songs, a configuration or a run folder that cannot be trained with, or a training that went wrong."""


class DatasetError(TrainingError):
    """A folder of songs has none that can be trained with, or its `stems.yaml` has mistakes."""


class SynthesisError(HDemucsError):
    """Sounds, voices or packages that synthesising songs needs are missing or damaged."""


class WorkerError(HDemucsError):
    """A worker process was killed from outside, most likely because memory ran out."""


class Cancelled(HDemucsError):
    """The caller asked, through `Progress.cancel`, to stop a separation."""


def one_line(error: BaseException) -> str:
    """Message of any exception on one line, at most 200 characters; its type where it has no message."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def install_extra(extra: str) -> str:
    """Command that installs an extra of pyproject.toml, for the end of a message.

    It installs from the sources: hdemucs is on no package index.
    """
    return f"pip install '.[{extra}]' in the hdemucs source folder"

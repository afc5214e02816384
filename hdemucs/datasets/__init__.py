"""Songs with stems on disk: finding, scanning and reading them, for evaluation and training."""

from hdemucs.datasets.assess import ScanProblem
from hdemucs.datasets.musdb import MUSDB_TEST, MUSDB_VALIDATION, STEM_STREAMS
from hdemucs.datasets.scan import Scan, ScanCallback, scan
from hdemucs.datasets.songs import Song, align_lengths, find_songs, ordered_sources, songs_in
from hdemucs.datasets.training_songs import TrainingSong, find_training_songs

__all__ = [
    "MUSDB_TEST",
    "MUSDB_VALIDATION",
    "STEM_STREAMS",
    "Scan",
    "ScanCallback",
    "ScanProblem",
    "Song",
    "TrainingSong",
    "align_lengths",
    "find_songs",
    "find_training_songs",
    "ordered_sources",
    "scan",
    "songs_in",
]

"""The networks, in pure torch: no files, no audio formats."""

from collections.abc import Mapping

from hdemucs.model.bag import Bag, Model
from hdemucs.model.base import Network, NetworkConfig
from hdemucs.model.demucs import Demucs, DemucsConfig
from hdemucs.model.hdemucs import HDemucs, HDemucsConfig
from hdemucs.model.htdemucs import HTDemucs, HTDemucsConfig

NETWORKS: Mapping[str, type[Network]] = {network.__name__: network for network in (HDemucs, HTDemucs, Demucs)}
"""The networks that model files and training configurations may name."""

__all__ = [
    "NETWORKS",
    "Bag",
    "Demucs",
    "DemucsConfig",
    "HDemucs",
    "HDemucsConfig",
    "HTDemucs",
    "HTDemucsConfig",
    "Model",
    "Network",
    "NetworkConfig",
]

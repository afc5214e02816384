"""Changing the number of channels without losing what is in the centre."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from hdemucs.errors import AudioError

# Channel order of WAV, FLAC and FFmpeg for each channel count. L and R: left and right, front, back or
# side alike; C: any centre, front or back; E: low-frequency effects. Capitals are the main pair.
_LAYOUTS = {3: "LRC", 4: "LRlr", 5: "LRClr", 6: "LRCElr", 7: "LRCEClr", 8: "LRCElrlr"}
_MINUS_3_DB = math.sqrt(0.5)
_WEIGHTS = {
    "L": (1.0, 0.0),
    "R": (0.0, 1.0),
    "C": (_MINUS_3_DB, _MINUS_3_DB),
    "E": (0.0, 0.0),
    "l": (_MINUS_3_DB, 0.0),
    "r": (0.0, _MINUS_3_DB),
}


def remix(block: Tensor, channels: int) -> Tensor:
    """Change the number of channels of a block; one that has the right number is returned as it is.

    Mono is repeated; the mean of all channels makes mono. Stereo from 3 to 8 channels folds the centre and
    the surround channels in at -3 dB and leaves the low-frequency effects out; from 9 or more, it is the
    mean of the even channels on the left and of the odd ones on the right. None of them can clip.

    Args:
        block: Samples `[c, n]`, in the channel order of WAV.
        channels: Number of channels of the result.

    Returns:
        `[channels, n]`.

    Raises:
        AudioError: There is no sensible way to turn c channels into `channels`.
    """
    have = block.shape[0]
    if have == channels:
        return block
    if have == 1 and channels > 1:
        return block.repeat(channels, 1)
    if channels == 1:
        return block.mean(dim=0, keepdim=True)
    if channels == 2:
        return stereo_weights(have).to(block) @ block
    raise AudioError(f"{have} channels cannot be turned into {channels}; mix the audio down to stereo first")


@lru_cache
def stereo_weights(channels: int) -> Tensor:
    """Downmix matrix `[2, channels]` from 3 or more channels to stereo; absolute sums of rows are <= 1."""
    if channels in _LAYOUTS:
        weights = torch.tensor([_WEIGHTS[speaker] for speaker in _LAYOUTS[channels]]).T
    else:
        weights = torch.eye(2).repeat(1, channels)[:, :channels]
    # Each row has its own sum: they differ for odd numbers of channels from 9 on.
    return weights / weights.sum(dim=1, keepdim=True)

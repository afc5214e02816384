"""Scores of one song, computed from its stem files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hdemucs.datasets import find_songs
from hdemucs.evaluation.benchmark.engines import METRICS, OwnEngine
from hdemucs.evaluation.benchmark.scores import read_scores, score_song
from tests.audio.signals import encode_libav, noise
from tests.evaluation.metrics.signals import sixteen_bits
from tests.evaluation.reference import museval_scores

RATE = 44100
SCORED = ["drums", "vocals"]


def band_limited(seed: int) -> Tensor:
    """Noise `[2, L]` without anything above 10 kHz, as AAC at a low bitrate leaves it."""
    spectrum = torch.fft.rfft(noise(RATE + RATE // 2, seed=seed))
    spectrum[:, int(10_000 * spectrum.shape[1] / (RATE / 2)) :] = 0
    return 0.3 * torch.fft.irfft(spectrum, n=RATE + RATE // 2)


@pytest.mark.slow
def test_stems_decoded_from_aac_are_scored_as_musevals_reader_hands_them_over(tmp_path: Path) -> None:
    encode_libav(tmp_path / "A.stem.mp4", [band_limited(seed) for seed in range(5)], RATE, "aac", "mp4")
    (song,) = find_songs(tmp_path)
    decoded = song.references(SCORED)
    # Shifted by some samples, mixed, and with what no encoder left above 10 kHz.
    estimates = F.pad(decoded, (3, 0))[..., :-3] + 0.1 * decoded.flip(0) + 0.01 * noise(decoded.shape[-1])
    score_song(OwnEngine(), song, SCORED, estimates.numpy(), RATE, 0.0, tmp_path / "A.json")
    expected = museval_scores(sixteen_bits(decoded), estimates)
    scores = read_scores(tmp_path / "A.json").windows
    for index, source in enumerate(SCORED):
        for row, metric in zip(expected, ("SDR", "ISR", "SIR", "SAR"), strict=True):
            assert metric in METRICS
            torch.testing.assert_close(
                scores[source][metric].double(), row[index], rtol=0, atol=2e-3, msg=f"{source} {metric}"
            )

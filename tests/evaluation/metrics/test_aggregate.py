"""Medians and means that ignore NaN, against NumPy."""

import math
import warnings

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hdemucs.evaluation import mean_over_tracks, median_over_tracks, median_over_windows

SCORES = st.one_of(st.floats(-100, 100), st.just(math.nan), st.just(math.inf))


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=SCORES))
def test_equal_to_numpy(scores: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        windows, tracks, mean = np.nanmedian(scores, -1), np.nanmedian(scores, 0), np.nanmean(scores, 0)
    tensor = torch.from_numpy(scores)
    np.testing.assert_allclose(median_over_windows(tensor), windows)
    np.testing.assert_allclose(median_over_tracks(tensor), tracks)
    np.testing.assert_allclose(mean_over_tracks(tensor), mean, atol=1e-12)


def test_windows_then_tracks():
    nan = math.nan
    tracks = torch.tensor([[[1.0, 2, nan, 4], [nan, nan, nan, nan]], [[5, 6, 7, 8], [3, 1, 2, nan]]])
    medians = median_over_windows(tracks)
    torch.testing.assert_close(medians, torch.tensor([[2, nan], [6.5, 2]]), equal_nan=True)
    torch.testing.assert_close(median_over_tracks(medians), torch.tensor([4.25, 2]))
    torch.testing.assert_close(mean_over_tracks(medians), torch.tensor([4.25, 2]))

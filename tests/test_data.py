"""The digits against scikit-learn's own arrays, Gaussian batches, and the batch that fits a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from gradflow.data import digits, gaussian, shape_for
from gradflow.models import conv_stack, fc_stack


def test_sizes_and_types() -> None:
    (x, y), (x_test, y_test) = digits()
    assert (x.shape, x_test.shape) == ((1347, 1, 8, 8), (450, 1, 8, 8))
    assert (y.shape, y_test.shape) == ((1347,), (450,))
    assert (x.dtype, y.dtype, x_test.dtype, y_test.dtype) == (torch.float32, torch.int64, torch.float32, torch.int64)
    assert digits().train[0].equal(x)


def test_the_two_sets_are_all_of_scikit_learns_digits_and_share_none() -> None:
    train, test = digits(flat=True)
    images, labels = load_digits(return_X_y=True)
    joined = torch.cat([train[0], test[0]]).double().numpy()
    # Pixels are whole numbers from 0 to 16: two of them undo the standardisation.
    pixels = np.rint((joined - joined.min()) / (joined.max() - joined.min()) * 16)
    np.testing.assert_allclose(
        joined, (pixels - pixels[:1347].mean()) / pixels[:1347].std(), atol=1e-6, err_msg="one mean and deviation"
    )
    rows = np.column_stack([pixels, torch.cat([train[1], test[1]]).numpy()])
    wanted = np.column_stack([images, labels])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)])
    assert not {tuple(row) for row in rows[:1347]} & {tuple(row) for row in rows[1347:]}


def test_standardised_over_the_training_set() -> None:
    (x, _), (x_test, _) = digits()
    assert float(x.double().mean()) == pytest.approx(0, abs=1e-6)
    assert float(x.double().std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert abs(float(x_test.double().mean())) > 1e-6, "the test set has its own mean"


def test_the_split_keeps_the_share_of_each_digit() -> None:
    (_, y), (_, y_test) = digits()
    np.testing.assert_allclose(np.bincount(y) / 1347, np.bincount(y_test) / 450, atol=0.002)


def test_flat_is_the_same_images_as_rows() -> None:
    assert digits(flat=True).train[0].equal(digits().train[0].reshape(-1, 64))
    assert digits(flat=True).test[1].equal(digits().test[1])


@pytest.mark.parametrize("flat", [False, True])
def test_changing_what_came_changes_nobody_elses_digits(flat: bool) -> None:
    before = digits().train[0].clone(), digits().train[1].clone()
    mine = digits(flat=flat)
    try:
        mine.train[0].add_(5)
        mine.train[1].zero_()
        assert digits().train[0].equal(before[0])
        assert digits().train[1].equal(before[1])
    finally:
        if not digits().train[0].equal(before[0]):  # spare the tests that follow
            mine.train[0].copy_(before[0].view_as(mine.train[0]))
            mine.train[1].copy_(before[1])


def test_gaussian_is_seeded_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    x = gaussian((3, 5), batch=4000, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert x.shape == (4000, 3, 5)
    assert x.dtype == torch.float32
    assert float(x.mean()) == pytest.approx(0, abs=0.02)
    assert float(x.std()) == pytest.approx(1, abs=0.02)
    assert x.equal(gaussian((3, 5), batch=4000, seed=7))
    assert not x.equal(gaussian((3, 5), batch=4000, seed=8))
    with pytest.raises(ValueError, match="batch=0"):
        gaussian((3,), batch=0)
    with pytest.raises(ValueError, match=r"batch=2\.5"):
        gaussian((3,), batch=2.5)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (fc_stack(3, 8, in_features=5), (5,)),
        (conv_stack(3, 4, in_channels=2, size=12), (2, 12, 12)),
        (nn.Sequential(nn.ReLU(), nn.Linear(7, 3)), (7,)),
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten()), (2, 32)),
        (nn.Sequential(nn.Conv2d(3, 3, 3), nn.Linear(4, 4)), (3, 32, 32)),
        (nn.Conv3d(1, 3, 3), (1, 32, 32, 32)),
        (nn.Linear(2, 2), (2,)),
    ],
)
def test_shape_for_takes_what_the_first_layer_takes(model: nn.Module, shape: tuple[int, ...]) -> None:
    assert shape_for(model) == shape


@pytest.mark.parametrize(
    "model", [nn.ReLU(), nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)), nn.LSTM(3, 4), nn.Sequential()]
)
def test_shape_for_says_when_it_cannot(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"{type(model).__name__}: pass data=x"):
        shape_for(model)

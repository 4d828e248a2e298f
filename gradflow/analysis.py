"""split() and path_spectrum(): ask the tensor wing what reaches the units, and set theory beside it."""

from __future__ import annotations

import torch

from gradflow.measure.paths import gradient_by_length
from gradflow.measure.splitting import split_gradient
from gradflow.measure.task import Data, Loss, Model
from gradflow.prediction import predict_paths, predict_units
from gradflow.results import GradientSplit, PathSpectrum


def split(
    model: Model,
    data: Data = None,
    *,
    loss: Loss | None = None,
    start: str = "loss",
    repeats: int = 1,
    mode: str = "train",
    dtype: torch.dtype | None = torch.float64,
    seed: int = 0,
    batch: int = 32,
) -> GradientSplit:
    """Split ∂E/∂x_l at every unit into what came through shortcuts alone and all the rest (He16 eq. 5–8).

    Numbers are the RMS over B × D of each part, in the result's text and picture relative to that of ∂E/∂x_U. For
    x_{l+1} = λ_l x_l + F(x_l) the shortcut part is (∏ λ_i) ∂E/∂x_U exactly, and stands beside it. For any other
    shortcut h (gate, 1×1 convolution, dropout, projection) it is (∏ h′_i)ᵀ ∂E/∂x_U, where h′ is the derivative of the
    whole term. A post-activation's derivative at the actual point belongs to both parts, so that they always add up to
    the gradient; BatchNorm's coupling of the samples belongs to the maps.

    model: a network with units in a row (:class:`gradflow.models.Unit`), or a function that builds one; it is copied,
    never changed. λ may be constant, one per unit, random or learned: ``fc_stack(50, 64, shortcut=lams)``.
    data, loss, repeats, mode, seed, batch: as in :func:`gradflow.compare`. dtype: of the copy, by default float64.
    start: "loss", or "random" for N(0, 1) numbers in place of ∂E/∂x_U, which depend on no weight and need no loss; λ
    may then be so large or small (1e±3 over 1,000 units) that the signal itself leaves the dtype's range.

    Raises TypeError for a model without units; ValueError for units that do not stand in a row, for a signal out of
    range and for bad arguments.
    """
    return split_gradient(
        model,
        data,
        loss=loss,
        start=start,
        repeats=repeats,
        mode=mode,
        dtype=dtype,
        seed=seed,
        batch=batch,
        predict=predict_units,
    )


def path_spectrum(
    model: Model,
    data: Data = None,
    *,
    loss: Loss | None = None,
    repeats: int = 1,
    sampled: int = 0,
    mode: str = "train",
    dtype: torch.dtype | None = torch.float64,
    seed: int = 0,
    batch: int = 32,
) -> PathSpectrum:
    """RMS over B × D of the part of ∂loss/∂x_0 that all paths through k branches carry together, for k = 0 … U.

    x_0 is the input of the first unit; by default the loss is a batch mean, so the numbers fall as 1/B. A path of
    length k passes k of the U branches and U − k shortcuts; a unit without shortcut adds one to every path. A path is a
    product in the network linearised at the batch: masks and batch statistics are those of the one forward pass. The
    parts are exact, and add up to the gradient (after Veit16 §5, who sampled single paths).

    model: a network with units in a row, or a function that builds one; it is copied, never changed. data, loss,
    repeats, mode, seed, batch: as in :func:`gradflow.compare`. dtype: of the copy, by default float64; what is smaller
    than it can hold is zero. sampled: besides, follow so many random single paths of each length, as Veit16 does; their
    norms tell how much the paths of one length cancel.

    Raises TypeError for a model without units, ValueError for units that do not stand in a row and for bad arguments.
    """
    return gradient_by_length(
        model,
        data,
        loss=loss,
        repeats=repeats,
        sampled=sampled,
        mode=mode,
        dtype=dtype,
        seed=seed,
        batch=batch,
        predict=predict_paths,
    )

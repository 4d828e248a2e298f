"""Verdicts on gradients whose course is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradflow.verdicts import STEADY_DECADES, WORDS, judge, smallest_normal, smallest_subnormal

DTYPES = ("float16", "bfloat16", "float32", "float64")
norms = st.lists(st.floats(0, math.inf, exclude_min=True, exclude_max=True), min_size=2, max_size=12)
anything = st.lists(
    st.one_of(st.floats(0, math.inf), st.sampled_from([0.0, math.inf, math.nan, 1.0, 1e-3])), min_size=0, max_size=12
)


@pytest.mark.parametrize(
    ("factor", "word"), [(0.4, "vanishes"), (0.99, "steady"), (1.0, "steady"), (1.01, "steady"), (2.5, "explodes")]
)
def test_a_geometric_course(factor: float, word: str) -> None:
    layers = 20
    values = 3.0 * factor ** np.arange(layers)[::-1]  # the first layer has been through all the others
    verdict = judge(values)
    assert verdict.word == word
    assert verdict.factor == pytest.approx(factor)
    assert verdict.decades == pytest.approx((layers - 1) * math.log10(factor), abs=1e-12)
    assert (verdict.layers, verdict.below_floor, verdict.nonfinite) == (20, 0, 0)
    sentence = str(verdict)
    assert sentence.startswith("holds steady" if word == "steady" else word)
    assert f"{factor:.3g}" in sentence
    assert "20 layers" in sentence


def test_less_than_a_factor_of_ten_is_steady_either_way() -> None:
    assert STEADY_DECADES == 1
    words = [judge(np.array([first, 1.0])).word for first in (0.099, 0.101, 9.9, 10.1)]
    assert words == ["vanishes", "steady", "steady", "explodes"]


def test_zeros_at_the_input_mean_vanishing() -> None:
    verdict = judge(np.array([0, 0, 1e-3, 1e-2, 1e-1]))
    assert verdict.word == "vanishes"
    assert verdict.factor == pytest.approx(0.1)
    assert verdict.decades == pytest.approx(-2)
    assert verdict.below_floor == 2
    assert "2 layers below the dtype's floor" in str(verdict)


def test_a_sentence_has_a_true_minus_sign_and_no_minus_zero() -> None:
    assert (
        str(judge(np.array([1e-3, 1e-2, 1e-1, 1])))
        == "vanishes toward the input: × 0.1 a layer, −3.0 decades over 4 layers"
    )
    assert "+3.0 decades" in str(judge(np.array([1, 1e-1, 1e-2, 1e-3])))
    assert "+0.0 decades" in str(judge(np.array([0.999, 1.0])))


def test_a_sentence_can_be_said_in_other_words() -> None:
    """Each part is asked for by its key, with what it needs."""
    asked: dict[str, dict[str, object]] = {}

    def say(key: str, **values: object) -> str:
        assert key in WORDS
        asked[key] = values
        return f"<{key}>"

    verdict = judge(np.array([math.nan, 0.0, 1e-3, 1e-2]))
    assert (
        verdict.sentence(say)
        == "<verdict:vanishes><verdict:between><verdict:below_floor><verdict:between><verdict:nonfinite>"
    )
    assert asked["verdict:vanishes"] == {"change": "<verdict:change>"}
    assert asked["verdict:change"] == {"factor": pytest.approx(0.1), "decades": "−1.0", "layers": 4}
    assert asked["verdict:below_floor"] == {"count": "<verdict:layer>", "floor": 2.0**-126}
    assert judge(np.array([1.0])).sentence(say) == "<verdict:unknown>"
    assert asked["verdict:unknown"] == {"layers": 1}


def test_infinities_at_the_input_mean_exploding() -> None:
    verdict = judge(np.array([math.inf, 1e3, 1e2, 1e1]))
    assert verdict.word == "explodes"
    assert verdict.nonfinite == 1
    assert "1 layer not finite" in str(verdict)


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [math.nan, 1.0], [math.inf, math.nan], [0.0, 1.0]], ids=str)
def test_unknown_with_fewer_than_two_usable_layers(values: list[float]) -> None:
    verdict = judge(np.array(values))
    assert verdict.word == "unknown"
    assert math.isnan(verdict.factor)
    assert str(verdict).startswith("no verdict")


@pytest.mark.parametrize("dtype", DTYPES)
def test_floors_are_those_of_the_dtype(dtype: str) -> None:
    facts = torch.finfo(getattr(torch, dtype))
    assert smallest_normal(dtype) == facts.smallest_normal
    assert smallest_subnormal(dtype) == facts.smallest_normal * facts.eps
    assert torch.tensor(smallest_subnormal(dtype), dtype=getattr(torch, dtype)) > 0
    values = np.array([facts.smallest_normal * 0.99, facts.smallest_normal, 1.0])
    assert judge(values, dtype).below_floor == 1
    assert judge(values, dtype).floor == facts.smallest_normal


def test_unknown_dtypes() -> None:
    with pytest.raises(KeyError, match="int8"):
        judge(np.ones(3), "int8")


@given(norms)
def test_the_word_is_never_the_opposite_of_what_happens(values: list[float]) -> None:
    verdict = judge(np.array(values), "float64")
    first, last = values[0], values[-1]
    grows = math.log10(first) - math.log10(last)
    if grows > 1e-9:
        assert verdict.word in ("steady", "explodes")
        assert "vanishes" not in str(verdict)
    if grows < -1e-9:
        assert verdict.word in ("steady", "vanishes")
        assert "explodes" not in str(verdict)
    assert verdict.decades == pytest.approx(grows, abs=1e-9)


@given(anything)
def test_a_sentence_does_not_contradict_itself(values: list[float]) -> None:
    verdict = judge(np.array(values), "float64")
    assert verdict.layers == len(values)
    assert verdict.nonfinite == sum(not math.isfinite(value) for value in values)
    assert verdict.below_floor == sum(value < 2.0**-1022 for value in values)
    if verdict.word == "vanishes":
        assert verdict.decades <= 0, str(verdict)
    if verdict.word == "explodes":
        assert verdict.decades >= 0, str(verdict)
    if verdict.word != "unknown":
        assert (verdict.factor > 1) == (verdict.decades > 0) or abs(verdict.decades) < 1e-9
    assert str(verdict)


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        judge(np.ones(3)).word = "vanishes"  # type: ignore[misc]

"""Comparing small numbers."""

from __future__ import annotations

from typing import Any

import pytest


def approx(true: Any, rel: float = 1e-9, abs: float = 0.0) -> Any:
    """Close in relative terms, however small the numbers; pytest's own default takes all below 1e-12 for equal."""
    return pytest.approx(true, rel=rel, abs=abs, nan_ok=True)

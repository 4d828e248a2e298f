"""The captions of the book figures, in Chinese; the numbers in braces come from the figure's data."""

from __future__ import annotations

CAPTIONS: dict[str, str] = {}

"""Every word a reader of a figure sees, one table per language."""

from __future__ import annotations

from gradflow.plots.labels import chinese, english
from gradflow.plots.page import current_page

TABLES: dict[str, dict[str, str]] = {"en": english.WORDS, "zh": chinese.WORDS}
ENGLISH = TABLES["en"]


def text(key: str, **values: object) -> str:
    """The words for a key in the language of the page, or the key itself when it is a name given by the user."""
    words = TABLES[current_page().language].get(key, key)
    return words.format(**values) if values else words


def norm_of(norm: str, quantity: str) -> str:
    """An axis label such as "RMS of ∂loss/∂output"."""
    if quantity in ("activation_std", "dead", "saturation", "update_ratio", "drift"):
        return text(quantity)
    return f"{text(norm)} of {text(quantity)}"

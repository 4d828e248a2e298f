"""Every word a reader of a figure sees, one table per language, and numbers as a book sets them."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Number
from string import Formatter

from gradflow.plots.labels import chinese, english
from gradflow.plots.page import current_page
from gradflow.verdicts import NO_NORMS, Verdict

TABLES: dict[str, dict[str, str]] = {"en": english.WORDS, "zh": chinese.WORDS}
ENGLISH = TABLES["en"]
_MINUS = "\N{MINUS SIGN}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def text(key: str, **values: object) -> str:
    """The words for a key in the language of the page, or the key itself when it is a name given by the user.

    Numbers among ``values`` get a true minus sign and a power of ten: −0.01 and 9.5 × 10⁻⁸.
    """
    words = TABLES[current_page().language].get(key, key)
    return _SETTER.vformat(words, (), values) if values else words


def named(kind: str, name: str) -> str:
    """What a choice in code is called, such as ``named("mode", "train")``, or the name itself where there is no word.

    ``kind`` is activation, init, loss or mode.
    """
    return TABLES[current_page().language].get(f"{kind}:{name}", name)


def listed(parts: Iterable[str], separator: str = "comma") -> str:
    """Parts in a row with the language's ``separator``: comma, semicolon or and."""
    return text(f"list:{separator}").join(parts)


def verdict(judged: Verdict) -> str:
    """What a verdict says, in the language of the page."""
    return judged.sentence(text)


def norm_of(norm: str, quantity: str) -> str:
    """An axis label such as "RMS of ∂loss/∂output"."""
    if quantity in NO_NORMS:
        return text(quantity)
    return text("norm_of", norm=text(norm), quantity=text(quantity))


class _NumberSetter(Formatter):
    """Formats like ``str.format``, but numbers as they are printed in books."""

    def format_field(self, value: object, format_spec: str) -> str:
        written = format(value, format_spec)
        return _typeset(written) if isinstance(value, Number) else written


_SETTER = _NumberSetter()


def _typeset(number: str) -> str:
    """A formatted number with a true minus sign, and with a power of ten for its exponent."""
    digits, _, exponent = number.partition("e")
    digits, power = digits.replace("-", _MINUS), int(exponent or 0)
    return f"{digits} × 10{str(power).translate(_RAISED)}" if power else digits

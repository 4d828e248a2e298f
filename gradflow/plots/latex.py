"""Words as LaTeX reads them, whatever its engine: plain ASCII for all but letters with accents and Chinese."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable
from itertools import groupby

_ENGINES = {"en": ("pdflatex", "xelatex", "lualatex"), "zh": ("xelatex",)}

_TEXT = {
    **{character: f"\\{character}" for character in "{}%&#$_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "§": r"\S{}",
    "°": r"\textdegree{}",
    "\N{NO-BREAK SPACE}": "~",
}
# fmt: off
_GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "o", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
)
# fmt: on
_MATH = {
    **{chr(ord("α") + place): "o" if name == "o" else f"\\{name}" for place, name in enumerate(_GREEK)},
    **{name[0]: f"\\{name[1:]}" for name in ("ΓGamma", "ΔDelta", "ΘTheta", "ΛLambda", "ΞXi", "ΠPi", "ΣSigma", "ΦPhi")},
    **{"Ψ": r"\Psi", "Ω": r"\Omega"},
    "−": "-",
    "×": r"\times",
    "÷": r"\div",
    "·": r"\cdot",
    "±": r"\pm",
    "∂": r"\partial",
    "∇": r"\nabla",
    "∏": r"\prod",
    "∑": r"\sum",
    "√": r"\surd",
    "∞": r"\infty",
    "∈": r"\in",
    "‖": r"\|",
    "⟨": r"\langle",
    "⟩": r"\rangle",
    "→": r"\to",
    "←": r"\leftarrow",
    "≤": r"\le",
    "≥": r"\ge",
    "≈": r"\approx",
    "≠": r"\ne",
    "∝": r"\propto",
    "⁄": "/",
    "<": "<",
    ">": ">",
    "|": "|",
}
# Single letters with an index, such as x_l, and powers, such as (3/4)^L, as captions write them.
_INDEXED = re.compile(r"(?<![A-Za-z0-9_\\])[A-Za-z]_[A-Za-z0-9](?![A-Za-z0-9_])|\^[A-Za-z0-9]+")


def tex_engine(language: str = "en") -> str:
    """The LaTeX engine that measures text for a language: one that is installed.

    Raises FileNotFoundError where there is none.
    """
    wanted = _ENGINES[language]
    found = next((engine for engine in wanted if shutil.which(engine)), None)
    if found is None:
        names = " or ".join(wanted)
        raise FileNotFoundError(
            f"pgf needs LaTeX, and no {names} is installed here: install TeX Live or MiKTeX (Debian, Ubuntu: apt "
            f"install {'texlive-xetex texlive-lang-chinese' if language == 'zh' else 'texlive-pictures'}), or choose "
            "pdf, svg or png"
        )
    return found


def in_latex(words: str) -> str:
    """Plain words for LaTeX: what it reads as commands escaped, Greek letters, signs, indices and powers as formulas.

    Compiles with pdflatex, xelatex and lualatex without a package; Chinese needs xelatex with xeCJK.
    """
    parts, end = [], 0
    for found in _INDEXED.finditer(words):
        letters = found.group()
        sign = letters.index("_") if "_" in letters else 0
        parts += [_plain(words[end : found.start()]), f"${letters[:sign]}{letters[sign]}{{{letters[sign + 1 :]}}}$"]
        end = found.end()
    return "".join([*parts, _plain(words[end:])])


def label_in_latex(label: str, formulas: bool) -> str:
    """A label of a figure for LaTeX; with ``formulas`` what stands between dollar signs is one already."""
    if not formulas:
        return in_latex(label)
    parts = re.split(r"(?<!\\)\$", label)
    return "".join(
        f"${_signs(part)}$" if place % 2 else in_latex(part.replace(r"\$", "$")) for place, part in enumerate(parts)
    )


def _plain(words: str) -> str:
    runs = ((formula, "".join(run)) for formula, run in groupby(words, key=_is_sign))
    return "".join(f"${_signs(run)}$" if formula else "".join(_TEXT.get(c, c) for c in run) for formula, run in runs)


def _is_sign(character: str) -> bool:
    return character in _MATH or bool(_script(character))


def _script(character: str) -> str:
    """ "^" for a raised digit or sign, "_" for a lowered one, else nothing."""
    return {"<super>": "^", "<sub>": "_"}.get(unicodedata.decomposition(character).partition(" ")[0], "")


def _signs(formula: str) -> str:
    """A formula with every sign that is not ASCII as a command, neighbouring raised ones as one power."""
    parts = []
    for script, run in groupby(formula, key=_script):
        commands = _commands(_lowered(character) if script else character for character in run)
        parts.append(f"{script}{{{commands}}}" if script else commands)
    return "".join(parts).strip()


def _lowered(character: str) -> str:
    return unicodedata.normalize("NFKC", character)


def _commands(characters: Iterable[str]) -> str:
    # A command ends at the first character that is no letter.
    named = (_MATH.get(character, character) for character in characters)
    return "".join(f"{one} " if one[0] == "\\" and one[-1].isalpha() else one for one in named)

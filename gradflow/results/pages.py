"""A result as one page of HTML: what its ``repr`` says, with its figure and whole tables; it needs no network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from gradflow.results.base import Grid, Result
from gradflow.results.tables import Panels

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --line: #cfcfcf; --soft: #f3f3f3; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --paper: #16181b; --line: #4a4d52; --soft: #24272b; } }
body { margin: 2rem auto; max-width: 52rem; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
figure { margin: 1rem 0; padding: 0.75rem; background: white; border: 1px solid var(--line); border-radius: 4px; }
figure img { display: block; width: 100%; max-width: 44rem; height: auto; margin: 0 auto; }
.table { overflow: auto; max-height: 30rem; border: 1px solid var(--line); margin: 1rem 0; }
table { border-collapse: collapse; font: 0.85rem/1.4 ui-monospace, "DejaVu Sans Mono", monospace; width: 100%;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.15rem 0.6rem; text-align: right; white-space: nowrap; font-weight: normal; }
th:first-child { text-align: left; }
thead th { position: sticky; top: 0; background: var(--soft); font-weight: bold; }
tbody tr:nth-child(even) { background: var(--soft); }
.settings th { width: 9rem; }
.settings th, .settings td { text-align: left; white-space: normal; vertical-align: top; }
@media print {
  :root { --ink: black; --paper: white; --line: #999999; --soft: #f3f3f3; }
  body { margin: 0; max-width: none; font-size: 10pt; }
  .table { max-height: none; overflow: visible; border: none; }
  thead th { position: static; }
  figure, tr { break-inside: avoid; } h1, h2, h3 { break-after: avoid; }
}
"""


def page(result: Result) -> str:
    """The page of a result, with all its parts; the same bytes for an equal result."""
    from gradflow.plots.page import current_page

    title = escape(_heading(result))
    body = "\n".join(_sections(result, 1))
    return (
        f'<!DOCTYPE html>\n<html lang="{current_page().language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="generator" '
        f'content="gradflow">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def for_notebook(result: Result) -> str:
    """The figure and the text of a result, for the last line of a notebook's cell."""
    pictures = "".join(_image(*one) for one in _pictures(result, _heading(result)))
    # JupyterLab gives a bare <pre> a proportional font.
    return f'{pictures}<pre style="font-family: monospace">{escape(repr(result))}</pre>'


def _parts(result: Result) -> Mapping[str, Any]:
    return result.parts if isinstance(result, Panels) else {}


def _heading(result: Any) -> str:
    parts = f": {', '.join(result.parts)}" if isinstance(result, Panels) else ""
    return result.heading() if isinstance(result, Result) and not parts else f"{type(result).__name__}{parts}"


def _pictures(result: Any, name: str) -> Iterator[tuple[Result, str]]:
    """What has a picture, with words for it: the result itself, or its parts."""
    if not isinstance(result, Result):
        return
    if result.is_drawn():
        yield result, f"{name}: {'; '.join(result.sentences())}" if result.sentences() else name
    for part, inner in _parts(result).items():
        yield from _pictures(inner, part)


def _image(result: Result, alt: str) -> str:
    picture = b64encode(result._picture("svg")).decode()
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{picture}">'


def _sections(result: Any, level: int, name: str = "") -> Iterator[str]:
    """Heading, figure, sentences, tables and settings of a result, and then those of its parts, one level below."""
    heading = _heading(result)
    title = f"{name}: {heading}" if name else heading
    yield f"<h{min(level, 6)}>{escape(title)}</h{min(level, 6)}>"
    if not isinstance(result, Result):
        yield f"<pre>{escape(repr(result))}</pre>"
        return
    if result.is_drawn():
        alt = "; ".join([heading, *result.sentences()])
        yield f"<figure>{_image(result, alt)}</figure>"
    if not _parts(result):
        first, *others = result.blocks()
        yield from _block([part for part in first if part != heading])
        for line, *block in others:
            yield f"<h{min(level + 1, 6)}>{escape(str(line))}</h{min(level + 1, 6)}>"
            yield from _block(block)
    yield from _settings(result.provenance, min(level + 1, 6))
    for part, inner in _parts(result).items():
        yield from _sections(inner, level + 1, part)


def _block(block: Sequence[str | Grid]) -> Iterator[str]:
    """Sentences, and behind them the tables that they speak of."""
    lines = [part for part in block if isinstance(part, str)]
    if lines:
        yield "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"
    for part in block:
        if not isinstance(part, str):
            yield _table(part)


def _table(grid: Grid) -> str:
    from gradflow.plots.labels import text

    header = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in grid.header)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(str(first))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in zip(*grid.columns, strict=True)
    )
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(text("page:table"))}">\n<table>\n'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _settings(provenance: Mapping[str, Any], level: int) -> Iterator[str]:
    """What is needed to get the same numbers again; not when and where it was done, which equality ignores too."""
    from gradflow.plots.labels import text

    facts = list(_facts({key: value for key, value in provenance.items() if key != "run"}))
    if facts:
        yield f"<h{level}>{escape(text('page:settings'))}</h{level}>"
        rows = "\n".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in facts
        )
        yield f'<table class="settings">\n<tbody>\n{rows}\n</tbody>\n</table>'


def _facts(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        yield str(name).replace("_", " "), _said(value)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_said, value))
    return "–" if value is None else str(value)

"""Figures as PGF: drawings that LaTeX sets in the fonts of the document they are put into."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pgf import FigureCanvasPgf, LatexError, RendererPgf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont

from gradflow.plots.latex import label_in_latex, tex_engine

_HEAD = """\
% \\input this file; the preamble needs \\usepackage{{pgf}}, and a font of any size, e.g. \\usepackage{{lmodern}}{more}
\\begingroup%
\\makeatletter%
\\def\\mathdefault#1{{#1}}%
\\begin{{pgfpicture}}%
\\pgfpathrectangle{{\\pgfpointorigin}}{{\\pgfqpoint{{{width:f}in}}{{{height:f}in}}}}%
\\pgfusepath{{use as bounding box, clip}}%
"""
_TAIL = "\\end{pgfpicture}%\n\\makeatother%\n\\endgroup%\n"
_CHINESE = " and \\usepackage{xeCJK}; compile with xelatex"


class _Renderer(RendererPgf):
    """Gives LaTeX every label in a form that each of its engines reads."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = False, mtext: Any = None
    ) -> None:
        super().draw_text(gc, x, y, label_in_latex(s, bool(ismath)), prop, angle, ismath, mtext)

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return super().get_text_width_height_descent(label_in_latex(s, bool(ismath)), prop, ismath)


class _Canvas(FigureCanvasPgf):
    """Writes nothing into the file that tells of this machine, as matplotlib's own head does."""

    language = "en"

    def get_renderer(self) -> RendererPgf:
        return _Renderer(self.figure, None)

    def print_pgf(self, fname_or_fh: IO[bytes], *, bbox_inches_restore: Any = None, **others: Any) -> None:
        figure, body = self.figure, io.StringIO()
        width, height = figure.get_size_inches()
        renderer = MixedModeRenderer(
            figure, width, height, figure.dpi, _Renderer(figure, body), bbox_inches_restore=bbox_inches_restore
        )
        figure.draw(renderer)  # type: ignore[arg-type]
        head = _HEAD.format(width=width, height=height, more=_CHINESE if self.language == "zh" else "")
        fname_or_fh.write((head + body.getvalue() + _TAIL).encode())


def pgf_settings(language: str) -> dict[str, Any]:
    """matplotlib's settings for measuring text with LaTeX. Raises FileNotFoundError where none is installed."""
    preamble = r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}"
    if language == "zh":
        from gradflow.plots.fonts import chinese_font

        found = findfont(FontProperties(family=chinese_font().name))
        path = Path(found)
        index = f",FontIndex={getattr(found, 'face_index', 0)}" if path.suffix == ".ttc" else ""
        folder = rf"Path=\detokenize{{{path.parent.as_posix()}/}}{index}"
        preamble += (
            rf"\usepackage{{xeCJK}}\setCJKmainfont{{{path.name}}}[{folder}]\setCJKsansfont{{{path.name}}}[{folder}]"
        )
    return {"pgf.texsystem": tex_engine(language), "pgf.rcfonts": False, "pgf.preamble": preamble}


def pgf_bytes(figure: Figure, language: str) -> bytes:
    """The figure as the text of a .pgf file. Raises RuntimeError with LaTeX's last words where it fails."""
    before, buffer = figure.canvas, io.BytesIO()
    canvas = _Canvas(figure)
    canvas.language = language
    try:
        canvas.print_figure(buffer, format="pgf")
    except LatexError as error:
        raise RuntimeError(f"LaTeX could not set the labels for pgf: {str(error)[-600:]}") from error
    finally:
        figure.set_canvas(before)
    return buffer.getvalue()

"""A figure that changes: played in a notebook, and saved as GIF, as a page of HTML, or as MP4."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gradflow.files import write_whole
from gradflow.plots import player
from gradflow.plots.look import PageFigure, style_of
from gradflow.plots.page import turned_to

FILMS = (".gif", ".html", ".mp4")
PIXELS = 1280
"""Width of a frame."""

_MOST_DPI = 200
_COLORS = 256
_RATE = 20
"""Frames a second of an MP4."""


class Film(FuncAnimation):
    """A matplotlib animation with a pause wherever one is needed; its last frame is a whole figure.

    Args:
        figure: what changes; its layout is kept as it is when all has been drawn.
        show: called with a frame's place 0, 1, …; makes the figure look like that frame.
        seconds: how long each frame is shown.
        alt: what is seen, in words, for those who cannot see it.
    """

    def __init__(self, figure: PageFigure, show: Callable[[int], None], seconds: Sequence[float], *, alt: str) -> None:
        self.figure, self.seconds, self.alt = figure, tuple(seconds), alt
        self._show, self._is_drawing = show, False
        # One canvas for all frames remembers how words are set, which takes longest.
        self._canvas = FigureCanvasAgg(figure)
        figure.set_dpi(min(_MOST_DPI, PIXELS / figure.get_figwidth()))
        self._turn(len(seconds) - 1)
        with style_of(figure):
            figure.draw_without_rendering()
            _keep_layout(figure)
        milliseconds = [round(1000 * second) for second in seconds]
        pace: dict[str, Any] = {"interval": min(milliseconds), "repeat_delay": milliseconds[-1]}
        super().__init__(figure, self._turn, frames=len(seconds), cache_frame_data=False, **pace)
        self._draw_was_started = True  # one that nobody looks at is no mistake

    def _turn(self, place: int) -> tuple[()]:
        with style_of(self.figure):
            self._show(place)
        return ()

    def _start(self, *arguments: Any) -> None:
        if not self._is_drawing:
            super()._start(*arguments)  # type: ignore[misc]

    def pictures(self) -> Iterator[Image.Image]:
        """Each frame as an RGB image."""
        for place in range(len(self.seconds)):
            self._turn(place)
            self._is_drawing = True
            try:
                self._canvas.draw()
            finally:
                self._is_drawing = False
            pixels = np.asarray(self._canvas.buffer_rgba())[..., :3]
            yield Image.fromarray(np.ascontiguousarray(pixels))

    def save(self, filename: str | Path, writer: Any = None, **keywords: Any) -> Self:  # type: ignore[override]
        """Save as ``.gif``, as ``.html`` (a player that needs no network) or as ``.mp4``, and return the film itself.

        With a ``writer`` or any other keyword it is matplotlib's ``Animation.save``. Raises ValueError for another
        ending, and RuntimeError for an MP4 without the program ffmpeg.
        """
        path = Path(filename)
        if writer is not None or keywords:
            with style_of(self.figure):
                super().save(path, writer, **keywords)
        elif path.suffix == ".gif":
            write_whole(path, self._gif())
        elif path.suffix == ".html":
            with turned_to(self.figure.page):
                write_whole(path, player.page(self._player(), self.alt).encode())
        elif path.suffix == ".mp4":
            write_whole(path, self._mp4())
        else:
            raise ValueError(f"a film's path must end in .gif, .html or .mp4; got {path.name!r}")
        return self

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        return self._player()

    def _player(self) -> str:
        frames = [_bytes(picture, "PNG", optimize=True) for picture in _in_few_colors(list(self.pictures()))]
        with turned_to(self.figure.page):
            return player.fragment(frames, self.seconds, self.alt)

    def _gif(self) -> bytes:
        first, *others = _in_few_colors(list(self.pictures()))
        hundredths = [max(2, round(100 * second)) for second in self.seconds]
        pace: dict[str, Any] = {"duration": [10 * one for one in hundredths], "loop": 0}
        return _bytes(first, "GIF", save_all=True, append_images=others, optimize=False, **pace)

    def _mp4(self) -> bytes:
        program = shutil.which("ffmpeg")
        if program is None:
            raise RuntimeError(
                "a film is saved as .mp4 by the program ffmpeg, which was not found: install it (apt install ffmpeg, "
                "brew install ffmpeg or conda install ffmpeg), or save it as .gif or .html"
            )
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for place, picture in enumerate(self.pictures()):
                names.append(f"{place}.png")
                picture.save(Path(folder) / names[-1], compress_level=1)
            # ffmpeg takes the last duration from the entry behind it.
            pace = zip([*names, names[-1]], [*self.seconds, 0], strict=True)
            Path(folder, "list").write_text("".join(f"file {name}\nduration {second}\n" for name, second in pace))
            done = subprocess.run([program, *_ENCODING, "film.mp4"], cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"ffmpeg could not make an MP4: {done.stderr.strip()}")
            return Path(folder, "film.mp4").read_bytes()


_ENCODING = (
    *("-loglevel", "error", "-f", "concat", "-i", "list", "-an", "-codec:v", "h264", "-pix_fmt", "yuv420p"),
    # Players stumble over odd sizes and over low rates, so a frame that lasts is repeated.
    *("-vf", f"crop=trunc(iw/2)*2:trunc(ih/2)*2,fps={_RATE}", "-movflags", "+faststart"),
    # One thread and no metadata: the same frames give the same bytes.
    *("-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
)


def _keep_layout(figure: PageFigure) -> None:
    """Leave axes and legends where they are now, whatever is drawn from now on."""
    no_layout: Any = "none"
    figure.set_layout_engine(no_layout)
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is not None:
            corner = ax.transAxes.inverted().transform(legend.get_window_extent().p0)
            legend.set_loc((float(corner[0]), float(corner[1])))


def _in_few_colors(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """The same pictures with one palette for all: their most frequent colours, which a drawing has few of."""
    typical = [_packed(picture) for picture in (pictures[len(pictures) // 2], pictures[-1])]
    values, counts = np.unique(np.concatenate(typical), return_counts=True)
    palette = np.sort(values[np.argsort(-counts, kind="stable")][:_COLORS])
    return [_in_colors(picture, palette) for picture in pictures]


def _in_colors(picture: Image.Image, palette: np.ndarray) -> Image.Image:
    """A picture in the colours of a palette, the nearest where one is not in it; Pillow's own search is not exact."""
    values, places = np.unique(_packed(picture), return_inverse=True)
    apart = _channels(values)[:, None] - _channels(palette)
    nearest = np.argmin((apart**2).sum(axis=2), axis=1).astype(np.uint8)
    found = Image.frombytes("P", picture.size, nearest[places].tobytes())
    found.putpalette(_channels(palette).astype(np.uint8).tobytes())
    return found


def _channels(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.int32)


def _packed(picture: Image.Image) -> np.ndarray:
    """The colour of each pixel as one number."""
    red, green, blue = np.moveaxis(np.asarray(picture, dtype=np.int64), -1, 0)
    return np.asarray((red << 16 | green << 8 | blue).ravel())


def _bytes(picture: Image.Image, kind: str, **keywords: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **keywords)
    return buffer.getvalue()

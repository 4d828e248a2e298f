"""A player for frames in HTML: one piece, no network, and the last frame where no script may run."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape

from gradflow.plots.labels import text
from gradflow.plots.page import current_page

_STYLE = """
.gradflow-film { max-width: 80rem; margin: 0; font: 0.9rem system-ui, sans-serif; }
.gradflow-film img { width: 100%; height: auto; background: white; }
.gradflow-film div { display: flex; gap: 0.4rem; align-items: center; }
.gradflow-film img[hidden], .gradflow-film div[hidden] { display: none; }
.gradflow-film button { font: inherit; min-width: 2.6rem; padding: 0.2rem 0.5rem; }
.gradflow-film input[type=range] { flex: 1; min-width: 4rem; }
@media print { .gradflow-film div { display: none; } }
"""
# Every film that has not been started yet: a notebook may show one twice, so an id would not do.
_SCRIPT = """
for (const film of document.querySelectorAll(".gradflow-film:not([data-ready])")) {
  film.dataset.ready = "yes";
  const seconds = JSON.parse(film.dataset.seconds), frames = film.querySelectorAll("img");
  const [first, back, play, on] = film.querySelectorAll("button");
  const [bar, again] = film.querySelectorAll("input");
  const last = frames.length - 1;
  let place = last, timer = null;
  const show = (to) => {
    frames[place].hidden = true;
    place = Math.max(0, Math.min(last, to));
    frames[place].hidden = false;
    bar.value = place;
  };
  const stop = () => {
    clearTimeout(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", play.dataset.play);
  };
  const wait = () => {
    timer = setTimeout(() => {
      if (!film.isConnected) return;
      if (place === last && !again.checked) return stop();
      show(place === last ? 0 : place + 1);
      wait();
    }, 1000 * seconds[place]);
  };
  const start = () => {
    if (place === last) show(0);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", play.dataset.pause);
    wait();
  };
  const go = (to) => { stop(); show(to); };
  play.onclick = () => timer === null ? start() : stop();
  first.onclick = () => go(0);
  back.onclick = () => go(place - 1);
  on.onclick = () => go(place + 1);
  bar.oninput = () => go(Number(bar.value));
  film.querySelector("div").hidden = false;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start();
}
"""


def fragment(frames: Sequence[bytes], seconds: Sequence[float], alt: str) -> str:
    """A player of PNG frames to put into a page; each is shown for its ``seconds``, and the last one stays."""
    last = len(frames) - 1
    images = "\n".join(
        f'<img{"" if place == last else " hidden"} alt="{escape(alt) if place == last else ""}" '
        f'src="data:image/png;base64,{b64encode(frame).decode()}">'
        for place, frame in enumerate(frames)
    )
    return (
        f"<style>{_STYLE}</style>\n"
        f'<figure class="gradflow-film" data-seconds="{escape(json.dumps([round(one, 3) for one in seconds]))}">\n'
        f"{images}\n<div hidden>{_controls(last)}</div>\n</figure>\n<script>{_SCRIPT}</script>"
    )


def _controls(last: int) -> str:
    first, back, play, pause, on, frame, again = (
        escape(text(f"film:{name}")) for name in ("first", "back", "play", "pause", "on", "frame", "again")
    )
    return (
        f'<button type="button" aria-label="{first}" title="{first}">|◀</button>'
        f'<button type="button" aria-label="{back}" title="{back}">‹</button>'
        f'<button type="button" aria-label="{play}" data-play="{play}" data-pause="{pause}">▶</button>'
        f'<button type="button" aria-label="{on}" title="{on}">›</button>'
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="{frame}">'
        f'<label><input type="checkbox"> {again}</label>'
    )


def page(film: str, alt: str) -> str:
    """A whole page of HTML that holds one player."""
    title = escape(alt.splitlines()[0] if alt else "gradflow")
    language = current_page().language
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>:root {{ color-scheme: light dark; }} body {{ margin: 1rem auto; "
        f"max-width: 80rem; }}</style>\n</head>\n<body>\n{film}\n</body>\n</html>\n"
    )

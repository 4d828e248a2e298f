"""Every word a reader of a figure sees, in Chinese."""

from __future__ import annotations

from gradflow.plots.labels import chinese_captions

WORDS: dict[str, str] = {
    **chinese_captions.CAPTIONS,
}

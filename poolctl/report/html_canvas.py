"""Canvas: matplotlib's axes in, an SVG element for a page of `report.html_page` out.

The only place that imports matplotlib, and only when a picture is drawn. The page gives colours and font, so that a
picture is readable on light, dark and paper. Knows nothing of pools.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from poolctl.report.html_page import text

ROLES = ("ink", "soft", "line", "accent", "good", "bad", "doubt", "held", "wait")
INK, SOFT, LINE, ACCENT, GOOD, BAD, DOUBT, HELD, WAIT = (f"#a1b2{number:02x}" for number in range(len(ROLES)))
"""Colours that no drawing uses by itself, each replaced by the page's variable of that role."""
WIDE = 10.0
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "poolctl",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": SOFT,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "legend.labelcolor": SOFT,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


class Finish:
    """Turns the figure into an SVG element once it is drawn."""

    svg = ""

    def __init__(self, figure: Any) -> None:
        self._figure = figure

    def __call__(self, label: str) -> None:
        """Write the element; `label` says what it shows to who cannot see it."""
        file = io.StringIO()
        self._figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        self.svg = inline(file.getvalue(), label)


@contextmanager
def canvas(height: float, parts: list[float]) -> Iterator[tuple[Any, list[Any], Finish]]:
    """Give matplotlib, axes above each other that share x, and what finishes the figure."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache, once a machine
    import matplotlib as mpl
    from matplotlib import ticker  # noqa: F401 - an attribute of the package from here on
    from matplotlib.figure import Figure

    # What it warns of (a letter it cannot measure, limits it had to widen) the browser that draws the text settles.
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(WIDE, height), layout="constrained")
        axes = figure.subplots(len(parts), 1, sharex=True, squeeze=False, height_ratios=parts)
        yield mpl, [row[0] for row in axes], Finish(figure)


_DROPPED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)
_FONT = re.compile(r"font: ([\d.]+px) [^;\"]+")


def inline(svg: str, label: str) -> str:
    """Return matplotlib's document as an element of a page: its own ids, the page's colours and font, a label."""
    svg = _DROPPED.sub("", svg)
    prefix = f"c{zlib.crc32(svg.encode()):08x}-"  # the same picture has the same ids in every report
    svg = re.sub(r'\b(id=")', rf"\g<1>{prefix}", svg)
    svg = re.sub(r'(xlink:)?href="#', f'href="#{prefix}', svg)
    svg = svg.replace("url(#", f"url(#{prefix}")
    svg = _FONT.sub(r"font: \1 var(--sans)", svg)
    for role, color in zip(ROLES, (INK, SOFT, LINE, ACCENT, GOOD, BAD, DOUBT, HELD, WAIT), strict=True):
        svg = svg.replace(color, f"var(--{role})")
    _, _, rest = svg.partition("<svg")
    box = re.search(r'viewBox="[^"]*"', rest)
    body = rest.partition(">")[2].strip()
    title = text(label)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{title}"><title>{title}</title>\n{body}'

"""A sheet of paper measured in points from its top left corner: boxes, arrows, and text whose width is known.

Matplotlib puts it into a file, without a window and whatever its settings are: SVG in which text stays text, PNG or
PDF, and the same sheet gives the same bytes.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from .._util.atomic import write_atomically
from ..errors import OptionError, RunError, nearest

SUFFIXES = (".svg", ".png", ".pdf")
INK, GREY, PALE = "#1f2933", "#7b8794", "#cbd2d9"
# Edge and fill of what belongs to x, to y, to a graph, to the way back, and to the result.
UPPER, LOWER, GRAPH = ("#2b6cb0", "#e8f1fb"), ("#b7791f", "#fdf3dc"), ("#2f855a", "#dff3e6")
BACK, RESULT = ("#6b46c1", "#efe9fb"), ("#c53030", "#fdeaea")
ESTIMATOR, PLAIN = (RESULT[0], "#fffbfb"), (GREY, "white")
#: The size of what stands first in a box.
TITLE = 9.0

# The font that comes with matplotlib: what is measured is what is drawn.
_FAMILY = ("DejaVu Sans", "sans-serif")
#: Which of the facts that a file says of itself change from one writing to the next.
_UNDATED: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
_DOTS_PER_INCH = 144


def check_place(path: str | Path) -> Path:
    """Return the path of a picture that can be drawn.

    Raises:
        OptionError: its suffix is not one of `SUFFIXES`; with the nearest.
        RunError: its folder is not there, it is a folder itself, or matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        found = f"got {path.suffix!r}" if path.suffix else "it has none"
        near = nearest(path.suffix, SUFFIXES)
        raise OptionError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)} ({found}){near}")
    if path.is_dir():
        raise RunError(f"{path}: expected the name of a file (it is a folder)")
    if not path.parent.is_dir():
        raise RunError(f"{path}: no folder {path.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RunError(f"{path}: matplotlib draws it and is not installed; pip install 'boat-core[plots]'") from None
    return path


class Sheet:
    """What is to be drawn, in this order. Colours are as CSS has them; `y` of a text is that of its baseline."""

    def __init__(self, width: float) -> None:
        self.width = width
        self._drawn: list[Callable[[Any], None]] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "white",
        edge: str = GREY,
        dashed: bool = False,
    ) -> None:
        """A box with round corners, by its top left corner."""

        def draw(axes: Any) -> None:
            from matplotlib.patches import FancyBboxPatch

            style = f"round,pad=0,rounding_size={min(5.0, height / 2)}"
            line = (0, (3, 2)) if dashed else "solid"
            axes.add_patch(
                FancyBboxPatch((x, y), width, height, style, fc=fill, ec=edge, linewidth=1.0, linestyle=line)
            )

        self._drawn.append(draw)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 8.5,
        color: str = INK,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """One line of text; nothing in it is taken for mathematics."""

        def draw(axes: Any) -> None:
            axes.text(
                x, y, text, color=color, ha=align, va="baseline", fontproperties=_font(size, bold), parse_math=False
            )

        self._drawn.append(draw)

    def line(self, *points: tuple[float, float], color: str = GREY, head: bool = True) -> None:
        """A line through points, with an arrowhead at the last unless `head` is false."""
        (x0, y0), (x, y) = points[-2:]
        length = max(1e-9, ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5)
        dx, dy = (x - x0) / length, (y - y0) / length

        def draw(axes: Any) -> None:
            from matplotlib.patches import Polygon

            ends = [*points[:-1], (x - 4 * dx, y - 4 * dy) if head else (x, y)]
            axes.plot(*zip(*ends), color=color, linewidth=1.0, solid_capstyle="butt")
            if head:
                back, side = (x - 6 * dx, y - 6 * dy), (-2.8 * dy, 2.8 * dx)
                corners = [(x, y), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
                axes.add_patch(Polygon(corners, closed=True, fc=color, ec="none"))

        self._drawn.append(draw)

    def write(self, path: Path, height: float) -> None:
        """Put it into a file, whole or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        from matplotlib import rc_context, rcdefaults, rcParams
        from matplotlib.figure import Figure

        with rc_context(), quiet():
            rcdefaults()
            rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "boat", "pdf.fonttype": 42})
            figure = Figure(figsize=(self.width / 72, height / 72), facecolor="white")
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set(xlim=(0, self.width), ylim=(height, 0), autoscale_on=False)
            axes.axis("off")
            for draw in self._drawn:
                draw(axes)
            try:
                write_atomically(
                    path,
                    lambda file: figure.savefig(
                        file, format=path.suffix[1:], dpi=_DOTS_PER_INCH, metadata=_UNDATED[path.suffix]
                    ),
                )
            except OSError as error:
                raise RunError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Inside this block a character that the font does not have is no warning: a box stands for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@lru_cache(maxsize=256)
def _font(size: float, bold: bool) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=list(_FAMILY), size=size, weight="bold" if bold else "normal")


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = 8.5, bold: bool = False) -> float:
    """How wide a line of text is."""
    from matplotlib.textpath import text_to_path

    width: float = text_to_path.get_text_width_height_descent(text, _font(size, bold), ismath=False)[0]
    return width


def wrapped(text: str, width: float, size: float = 8.5, bold: bool = False) -> list[str]:
    """Break a text into lines no wider than that, between words, and inside one that is wider alone."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(joined, size, bold) <= width:
            lines[-1] = joined
            continue
        while word:
            fits = max(1, _fitting(word, width, size, bold))
            lines.append(word[:fits])
            word = word[fits:]
    return lines


def shortened(text: str, width: float, size: float = 8.5, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits, and an ellipsis."""
    lines = wrapped(text, width, size, bold)
    if len(lines) <= 1:
        return "".join(lines)
    text = " ".join(text.split())
    return f"{text[: _fitting(text, width, size, bold, '…')]}…"


def _fitting(text: str, width: float, size: float, bold: bool, tail: str = "") -> int:
    """With how many of its first letters a text, and the tail after them, is not wider than that."""
    return bisect_right(range(1, len(text) + 1), width, key=lambda n: width_of(text[:n] + tail, size, bold))


#: One line of text, and its settings as `Sheet.text` takes them.
Line = tuple[str, dict[str, Any]]


def stack(sheet: Sheet, x: float, y: float, lines: Sequence[Line], leading: float = 1.45) -> float:
    """Write lines under one another from y; return where the last ended."""
    for text, settings in lines:
        size = settings.get("size", 8.5)
        y += leading * size
        sheet.text(x, y - 0.3 * size, text, **settings)
    return y


def heading(sheet: Sheet, x: float, y: float, text: str) -> float:
    """Write a heading from y; return where it ended."""
    return stack(sheet, x, y, [(text, {"size": 10.5, "bold": True})])


def titled(
    sheet: Sheet,
    x: float,
    y: float,
    width: float,
    height: float,
    colours: tuple[str, str],
    lines: Sequence[str],
    dashed: bool = False,
) -> None:
    """A box with lines in its middle, the first of them the title."""
    edge, fill = colours
    sheet.box(x, y, width, height, fill=fill, edge=edge, dashed=dashed)
    sizes = [TITLE if len(lines) > 1 else 8.5, *(7.0 for _ in lines[1:])]
    at = y + height / 2 - sum(1.4 * size for size in sizes) / 2
    for place, (line, size) in enumerate(zip(lines, sizes)):
        at += 1.4 * size
        bold = place == 0 and len(lines) > 1
        text = shortened(line, width - 6, size, bold)
        sheet.text(x + width / 2, at - 0.38 * size, text, size, GREY if place else INK, bold, "center")

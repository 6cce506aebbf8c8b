"""A sheet of paper, measured in points from its top left corner: boxes, lines, and text of known width.

matplotlib writes it into a file, as SVG in which text stays text, as PNG or as PDF. No window opens, the user's
settings of matplotlib do not matter, and the same sheet gives the same bytes.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from boat_core import OptionError, RunError

from ..files import write_atomically

SUFFIXES = (".svg", ".png", ".pdf")
INK, GREY, PALE = "#1f2933", "#7b8794", "#cbd2d9"
# Edge and fill of what belongs to x, to y, to a graph, to the way back, and to the result.
UPPER, LOWER, GRAPH = ("#2b6cb0", "#e8f1fb"), ("#b7791f", "#fdf3dc"), ("#2f855a", "#dff3e6")
BACK, RESULT = ("#6b46c1", "#efe9fb"), ("#c53030", "#fdeaea")
ESTIMATOR, PLAIN = (RESULT[0], "#fffbfb"), (GREY, "white")
#: The size of the first line in a box.
TITLE = 9.0

# This font comes with matplotlib, so the text that is measured is the text that is drawn.
_FAMILY = ("DejaVu Sans", "sans-serif")
#: The metadata of a file that would change from one writing to the next.
_UNDATED: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
_DOTS_PER_INCH = 144


def check_place(path: str | Path) -> Path:
    """Return the path of a picture if it can be drawn there.

    Raises:
        OptionError: the suffix is not one of `SUFFIXES`; the message names the nearest.
        RunError: the folder does not exist, or the path is a folder itself, or no file can have that name.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        got = f"got {path.suffix!r}" if path.suffix else "it has none"
        close = get_close_matches(path.suffix.lower(), SUFFIXES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise OptionError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)} ({got}){hint}")
    try:
        if path.is_dir():
            raise RunError(f"{path}: expected the name of a file (it is a folder)")
        if not path.parent.is_dir():
            raise RunError(f"{path}: no folder {path.parent}")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
    return path


@dataclass(frozen=True)
class Box:
    """A box with round corners. `x` and `y` are those of its top left corner."""

    x: float
    y: float
    width: float
    height: float
    fill: str = "white"
    edge: str = GREY
    dashed: bool = False

    def draw(self, axes: Any) -> None:
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={min(5.0, self.height / 2)}"
        line = (0, (3, 2)) if self.dashed else "solid"
        patch = FancyBboxPatch(
            (self.x, self.y), self.width, self.height, style, fc=self.fill, ec=self.edge, linewidth=1.0, linestyle=line
        )
        axes.add_patch(patch)


@dataclass(frozen=True)
class Text:
    """One line of text, in which nothing is taken for mathematics. `y` is that of its baseline."""

    x: float
    y: float
    text: str
    size: float = 8.5
    color: str = INK
    bold: bool = False
    align: str = "left"

    def draw(self, axes: Any) -> None:
        font = _font(self.size, self.bold)
        settings = dict(color=self.color, ha=self.align, va="baseline", fontproperties=font, parse_math=False)
        axes.text(self.x, self.y, self.text, **settings)


@dataclass(frozen=True)
class Polyline:
    """A line through points, with an arrowhead at the last point unless `head` is false."""

    points: tuple[tuple[float, float], ...]
    color: str = GREY
    head: bool = True

    def draw(self, axes: Any) -> None:
        from matplotlib.patches import Polygon

        (x0, y0), (x, y) = self.points[-2:]
        length = max(1e-9, ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5)
        dx, dy = (x - x0) / length, (y - y0) / length
        ends = [*self.points[:-1], (x - 4 * dx, y - 4 * dy) if self.head else (x, y)]
        axes.plot(*zip(*ends), color=self.color, linewidth=1.0, solid_capstyle="butt")
        if self.head:
            back, side = (x - 6 * dx, y - 6 * dy), (-2.8 * dy, 2.8 * dx)
            corners = [(x, y), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
            axes.add_patch(Polygon(corners, closed=True, fc=self.color, ec="none"))


class Sheet:
    """The shapes of a picture, in the order in which they are drawn. Colours are written as in CSS."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.height = 0.0
        self.shapes: list[Box | Text | Polyline] = []

    def box(self, x: float, y: float, width: float, height: float, **settings: Any) -> None:
        """Add a `Box`."""
        self.shapes.append(Box(x, y, width, height, **settings))

    def text(self, *arguments: Any, **settings: Any) -> None:
        """Add a `Text`."""
        self.shapes.append(Text(*arguments, **settings))

    def line(self, *points: tuple[float, float], color: str = GREY, head: bool = True) -> None:
        """Add a `Polyline`."""
        self.shapes.append(Polyline(points, color, head))

    def write(self, path: Path) -> None:
        """Write the sheet into a file, whole or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        from matplotlib import rc_context, rcdefaults, rcParams
        from matplotlib.figure import Figure

        with rc_context(), quiet():
            rcdefaults()
            rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "boat", "pdf.fonttype": 42})
            figure = Figure(figsize=(self.width / 72, self.height / 72), facecolor="white")
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set(xlim=(0, self.width), ylim=(self.height, 0), autoscale_on=False)
            axes.axis("off")
            for shape in self.shapes:
                shape.draw(axes)
            settings: dict[str, Any] = {"format": path.suffix[1:], "dpi": _DOTS_PER_INCH}
            try:
                write_atomically(path, lambda file: figure.savefig(file, metadata=_UNDATED[path.suffix], **settings))
            except OSError as error:
                raise RunError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warning about a character that the font lacks. A box is drawn in its place."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@lru_cache(maxsize=256)
def _font(size: float, bold: bool) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=list(_FAMILY), size=size, weight="bold" if bold else "normal")


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = 8.5, bold: bool = False) -> float:
    """Return the width of a line of text."""
    from matplotlib.textpath import text_to_path

    width: float = text_to_path.get_text_width_height_descent(text, _font(size, bold), ismath=False)[0]
    return width


def wrapped(text: str, width: float, size: float = 8.5, bold: bool = False) -> list[str]:
    """Break a text into lines of at most this width, between words, or inside a word that is wider alone."""
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
    """Return the text, or as much of its beginning as fits before an ellipsis."""
    lines = wrapped(text, width, size, bold)
    if len(lines) <= 1:
        return "".join(lines)
    text = " ".join(text.split())
    return f"{text[: _fitting(text, width, size, bold, '…')]}…"


def _fitting(text: str, width: float, size: float, bold: bool, tail: str = "") -> int:
    """Return how many of its first letters fit into this width, followed by the tail."""
    return bisect_right(range(1, len(text) + 1), width, key=lambda n: width_of(text[:n] + tail, size, bold))


#: One line of text, and its settings as `Text` takes them.
Line = tuple[str, dict[str, Any]]


def stack(sheet: Sheet, x: float, y: float, lines: Sequence[Line], leading: float = 1.45) -> float:
    """Write lines under one another from y. Return where the last one ends."""
    for text, settings in lines:
        size = settings.get("size", 8.5)
        y += leading * size
        sheet.text(x, y - 0.3 * size, text, **settings)
    return y


def heading(sheet: Sheet, x: float, y: float, text: str) -> float:
    """Write a heading from y. Return where it ends."""
    return stack(sheet, x, y, [(text, {"size": 10.5, "bold": True})])


def titled(
    sheet: Sheet,
    x: float,
    y: float,
    width: float,
    height: float,
    colors: tuple[str, str],
    lines: Sequence[str],
    dashed: bool = False,
) -> None:
    """Draw a box with centred lines. The first line is the title."""
    edge, fill = colors
    sheet.box(x, y, width, height, fill=fill, edge=edge, dashed=dashed)
    sizes = [TITLE if len(lines) > 1 else 8.5, *(7.0 for _ in lines[1:])]
    at = y + height / 2 - sum(1.4 * size for size in sizes) / 2
    for place, (line, size) in enumerate(zip(lines, sizes)):
        at += 1.4 * size
        bold = place == 0 and len(lines) > 1
        text = shortened(line, width - 6, size, bold)
        sheet.text(x + width / 2, at - 0.38 * size, text, size, GREY if place else INK, bold, "center")

"""Draw docs/pipeline.svg: how BOAT turns a bilevel problem into a step of the upper variables.

python docs/pipeline.py            print the picture
python docs/pipeline.py --write    write docs/pipeline.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

PICTURE = Path(__file__).parent / "pipeline.svg"
#: The operations that the picture names, by stage.
OPERATIONS = {
    "map": ("NGD", "GDA", "DI", "DM"),
    "approximate": ("RAD", "CG", "NS", "FD"),
    "first-order": ("VFO", "PGDO", "MESO"),
}
WIDTH, HEIGHT = 1000, 300
BLUE, ORANGE, GREEN, GREY, BLACK = "#2457a6", "#b4530a", "#1d7a46", "#5b6472", "#1f2933"


def text(x: float, y: float, words: str, size: int = 15, colour: str = BLACK, weight: str = "normal") -> str:
    """Return one centred line of text."""
    style = f'font-size="{size}" fill="{colour}" font-weight="{weight}" text-anchor="middle"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{words}</text>'


def box(x: float, y: float, width: float, height: float, colour: str, title: str, *lines: str) -> str:
    """Return a box with a title and lines of text below it."""
    middle = x + width / 2
    corners = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"'
    parts = [f'<rect {corners} fill="#ffffff" stroke="{colour}" stroke-width="2"/>']
    parts.append(text(middle, y + 26, title, 16, colour, "bold"))
    parts += [text(middle, y + 28 + 23 * number, line) for number, line in enumerate(lines, start=1)]
    return "\n".join(parts)


def arrow(*corners: tuple[float, float]) -> str:
    """Return a line through `corners`; its last part is horizontal or vertical and ends in an arrowhead."""
    (x0, y0), (x, y) = corners[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    back = (x - 10 * dx, y - 10 * dy)
    line = " ".join(f"{px:g},{py:g}" for px, py in (*corners[:-1], back))
    wings = ((x, y), (back[0] - 5 * dy, back[1] - 5 * dx), (back[0] + 5 * dy, back[1] + 5 * dx))
    head = " ".join(f"{px:g},{py:g}" for px, py in wings)
    shaft = f'<polyline points="{line}" fill="none" stroke="{GREY}" stroke-width="2"/>'
    return f'{shaft}<polygon points="{head}" fill="{GREY}"/>'


def picture() -> str:
    """Return the whole picture as SVG."""
    named = {stage: " · ".join(names) + " …" for stage, names in OPERATIONS.items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="Helvetica, Arial, sans-serif">',
        "<title>How BOAT turns a bilevel problem into a step of the upper variables</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#f5f7fa"/>',
        box(20, 32, 180, 146, GREY, "problem", "minimise F(x, y)", "over x, where y", "minimises f(x, ·)"),
        box(250, 32, 190, 86, BLUE, "map", "y₀ → y₁ → … → y_T"),
        box(540, 32, 190, 86, ORANGE, "approximate", "the derivative of F in x"),
        text(345, 108, named["map"], 14, GREY),
        text(635, 108, named["approximate"], 14, GREY),
        box(250, 142, 480, 80, GREEN, "or a first-order method", "one direction for x and y together"),
        text(490, 211, named["first-order"], 14, GREY),
        box(840, 32, 140, 146, GREY, "upper optimizer", "updates x", "by sgd, adam,", "lion …"),
        arrow((200, 75), (248, 75)),
        arrow((200, 165), (248, 165)),
        arrow((440, 75), (538, 75)),
        arrow((730, 75), (838, 75)),
        arrow((730, 165), (838, 165)),
        text(489, 66, "trajectory", 13, GREY),
        text(784, 66, "hypergradient", 13, GREY),
        text(784, 156, "direction", 13, GREY),
        arrow((910, 178), (910, 258), (110, 258), (110, 180)),
        text(510, 280, "next outer step: the new x, and a lower start that goes on from the last y", 14, GREY),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PICTURE.write_text(picture(), "utf-8")
    else:
        print(picture())

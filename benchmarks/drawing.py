"""Draw the floors, their packages and the imports between them, from the code: `make drawing` writes the picture.

    python -m benchmarks.drawing docs/images/architecture.svg

Each box is a package or a loose file of a floor, with its lines of code; each arrow says that something in one box
imports something in a box of another floor, thicker for more imports. Arrows within a floor are left out.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import grimp

ROOT: Final = Path(__file__).parents[1]
FLOORS: Final = (("service", "workers"), ("jobs",), ("model",))
_BOX: Final = (148, 44)
_GAP: Final = (14, 20)
_LEFT: Final = 16
_COLUMNS: Final = {"service": 5, "workers": 2, "jobs": 8, "model": 8}
_INK: Final = {"service": "#2f6fed", "workers": "#b4540a", "jobs": "#0a7d5a", "model": "#6b3fa0"}

Boxes = dict[str, tuple[float, float]]


def main() -> None:
    """Write the picture to the file that the command line names."""
    Path(sys.argv[1]).write_text(drawing(), "utf-8")


def drawing() -> str:
    """Return the picture as SVG, the same for the same sources."""
    graph = grimp.build_graph("toco")
    sizes = _sizes()
    boxes, frames, height = _placed(sizes)
    arrows: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for target in graph.find_modules_directly_imported_by(module):
            ends = _box_of(module), _box_of(target)
            floors = {end.partition(".")[0] for end in ends}
            if len(floors) > 1 and boxes.keys() >= set(ends):
                arrows[ends] += 1
    width = max(x + w for x, _, w, _ in frames.values()) + _LEFT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">',
        "<title>Floors and packages of ToCo Labeler, and the imports between them</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        *_frames(frames),
        *_arrows(arrows, boxes),
        *_boxes(boxes, sizes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box_of(module: str) -> str:
    """Return the box that a module lies in: floor and package, or floor and file."""
    return ".".join(module.split(".")[1:3])


def _sizes() -> dict[str, int]:
    """Return the lines of code in each box."""
    sizes: Counter[str] = Counter()
    for row in FLOORS:
        for floor in row:
            for path in sorted((ROOT / floor).rglob("*.py")):
                parts = path.relative_to(ROOT / floor).parts
                if "node_modules" not in parts and parts[0] != "__init__.py":
                    sizes[f"{floor}.{parts[0].removesuffix('.py')}"] += len(path.read_text("utf-8").splitlines())
    return {name: lines for name, lines in sizes.items() if lines > 1}


def _placed(sizes: dict[str, int]) -> tuple[Boxes, dict[str, tuple[float, float, float, float]], float]:
    """Place each box, floor under floor; return the boxes, each floor's frame (x, y, width, height), and the height."""
    boxes: Boxes = {}
    frames: dict[str, tuple[float, float, float, float]] = {}
    top = 16.0
    step = (_BOX[0] + _GAP[0], _BOX[1] + _GAP[1])
    for row in FLOORS:
        left, tallest = float(_LEFT), 0.0
        for floor in row:
            names = sorted(name for name in sizes if name.startswith(f"{floor}."))
            columns = _COLUMNS[floor]
            for number, name in enumerate(names):
                line, column = divmod(number, columns)
                boxes[name] = (left + _GAP[0] + column * step[0], top + 34 + line * step[1])
            lines = -(-len(names) // columns)
            size = (columns * step[0] + _GAP[0], 34 + lines * step[1])
            frames[floor] = (left, top, *size)
            left, tallest = left + size[0] + 20, max(tallest, size[1])
        for floor in row:
            frames[floor] = (*frames[floor][:3], tallest)
        top += tallest + 44
    return boxes, frames, top - 28


def _frames(frames: dict[str, tuple[float, float, float, float]]) -> list[str]:
    found = []
    for floor, (x, y, width, height) in frames.items():
        ink = _INK[floor]
        found.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="12" fill="{ink}" fill-opacity="0.07" '
            f'stroke="{ink}" stroke-opacity="0.5"/>'
            f'<text x="{x + 14:g}" y="{y + 23:g}" font-size="16" font-weight="bold" fill="{ink}">{floor}/</text>'
        )
    return found


def _arrows(arrows: Counter[tuple[str, str]], boxes: Boxes) -> list[str]:
    found = []
    for (source, target), count in sorted(arrows.items()):
        (x1, y1), (x2, y2) = boxes[source], boxes[target]
        start, end = (x1 + _BOX[0] / 2, y1 + _BOX[1]), (x2 + _BOX[0] / 2, y2)
        bend = max(30.0, abs(end[1] - start[1]) / 2)
        points = (start, (start[0], start[1] + bend), (end[0], end[1] - bend), end)
        path = "M{} C{} {} {}".format(*(f"{x:g},{y:g}" for x, y in points))
        ink = _INK[source.partition(".")[0]]
        found.append(
            f'<path d="{path}" fill="none" stroke="{ink}" stroke-opacity="0.3" '
            f'stroke-width="{min(6, 0.6 + count / 4):g}">'
            f"<title>{source} imports {target}: {count}</title></path>"
        )
    return found


def _boxes(boxes: Boxes, sizes: dict[str, int]) -> list[str]:
    found = []
    for name, (x, y) in boxes.items():
        floor, _, label = name.partition(".")
        found.append(
            f'<rect x="{x:g}" y="{y:g}" width="{_BOX[0]}" height="{_BOX[1]}" rx="7" fill="#ffffff" '
            f'stroke="{_INK[floor]}"/>'
            f'<text x="{x + 10:g}" y="{y + 19:g}" font-size="13" fill="#1b1f24">{escape(label)}</text>'
            f'<text x="{x + 10:g}" y="{y + 35:g}" font-size="11" fill="#5b6470">{sizes[name]:,} lines</text>'
        )
    return found


if __name__ == "__main__":
    main()

"""A pipeline as an SVG picture: one file without scripts or fonts, for light and dark screens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from visionweave.pipeline import Pipeline
from visionweave.show.diagram import Box, Diagram, clip, make_diagram
from visionweave.show.layering import Edge
from visionweave.show.layout import ARROW, LABEL_GAP, Frame, Layout, Port, make_layout
from visionweave.show.measure import bold_width, mono_width
from visionweave.show.style import NAME, SMALL, style_sheet

__all__ = ["to_svg"]

LINE = 16.0
"""From one line of small letters to the next."""

PADDING_X, PADDING_Y = 16.0, 10.0
MARGIN = 28.0
LABEL_DROP, LABEL_HEIGHT = 8.0, 18.0
NARROWEST = 104.0
WIDEST_HEADING, HEADING_LINE, HEADING_GAP = 520.0, 19.0, 15.0

WIDEST_NAME, WIDEST_LINE = 36, 42
"""In characters; what is longer ends in "…", and is shown in full as the pointer rests on it."""

MOST_LINES = 8
"""Of settings in a box."""

Line = tuple[str, str]
"""A class of the style sheet, and a text."""


def to_svg(pipeline: Pipeline) -> str:
    """Return a standalone SVG file.

    Inputs have round ends, outputs a double outline. A double line carries a list; a box that lies
    on a pile runs once per element of one.
    """
    diagram = make_diagram(pipeline)
    texts = [_lines(box) for box in diagram.boxes]
    labels = _labels(diagram)
    widths = {port: mono_width(text, SMALL) + 12 for port, text in labels.items()}
    sizes = [
        _size(lines, [width for port, width in widths.items() if port[0] == index])
        for index, lines in enumerate(texts)
    ]
    edges = [Edge(link.source, link.target, link.field) for link in diagram.links]
    layout = make_layout(sizes, edges, widths)
    parts = _link_parts(diagram, layout)
    for port, text in labels.items():
        parts += _label(text, layout.exits[port], layout.frames[port[0]].bottom, widths[port])
    for box, lines, frame in zip(diagram.boxes, texts, layout.frames, strict=True):
        parts += _box(box, lines, frame)
    return _file(diagram, layout, parts)


def _lines(box: Box) -> list[Line]:
    lines = [("name", clip(box.name, WIDEST_NAME))]
    if box.kind != "output":
        lines.append(("node", clip(box.node or box.types[""], WIDEST_LINE)))
    details = [clip(f"{name}: {text}", WIDEST_LINE) for name, text in box.literals.items()]
    if len(details) > MOST_LINES:
        details[MOST_LINES - 1 :] = [f"and {len(details) - MOST_LINES + 1} more"]
    lines += [("detail", text) for text in details]
    if box.many or box.runs.startswith("never"):
        lines.append(("runs", clip(box.runs, WIDEST_LINE)))
    return lines


def _labels(diagram: Diagram) -> dict[Port, str]:
    """What stands below a step for each output that is read; an input has its type in its box."""
    return {
        (link.source, link.field): clip(link.label, WIDEST_LINE)
        for link in diagram.links
        if diagram.boxes[link.source].kind == "step"
    }


def _size(lines: Sequence[Line], labels: Sequence[float]) -> tuple[float, float]:
    texts = [_text_width(line) for line in lines]
    width = max(NARROWEST, max(texts) + 2 * PADDING_X, sum(labels) + LABEL_GAP * (len(labels) - 1))
    return width, NAME + LINE * (len(lines) - 1) + 2 * PADDING_Y


def _text_width(line: Line) -> float:
    kind, text = line
    return bold_width(text, NAME) if kind == "name" else mono_width(text, SMALL)


def _link_parts(diagram: Diagram, layout: Layout) -> list[str]:
    """The lines, then the cores that make double lines of the thick ones, so that forks join."""
    lines, cores = [], []
    for link, way in zip(diagram.links, layout.ways, strict=True):
        source, target = diagram.boxes[link.source], diagram.boxes[link.target]
        start = f"{source.name}{'.' if link.field else ''}{link.field}"
        ports = "".join(f".{port}" for port in link.ports[:1])
        title = f"{start} \N{RIGHTWARDS ARROW} {target.name}{ports}: {link.type}"
        path = _path(way)
        many = " many" if link.many else ""
        lines.append(
            f'<path class="link{many}" d="{path}" marker-end="url(#arrow)">'
            f"<title>{escape(title)}</title></path>"
        )
        if link.many:
            cores.append(f'<path class="core" d="{path}"/>')
    return lines + cores


def _path(way: Sequence[tuple[float, float]]) -> str:
    (x, y), *rest = way
    pieces = [f"M{_n(x)} {_n(y)}"]
    for index, (to_x, to_y) in enumerate(rest):
        if index % 2 == 0 or _n(to_x) == _n(x):
            if pieces[-1].startswith("V"):
                pieces.pop()
            pieces.append(f"V{_n(to_y)}")
        else:
            middle = _n((y + to_y) / 2)
            pieces.append(f"C{_n(x)} {middle} {_n(to_x)} {middle} {_n(to_x)} {_n(to_y)}")
        x, y = to_x, to_y
    return "".join(pieces)


def _label(text: str, x: float, bottom: float, width: float) -> list[str]:
    y = bottom + LABEL_DROP
    return [
        '<g class="label">',
        _rect("", Frame(x - width / 2, y, width, LABEL_HEIGHT), LABEL_HEIGHT / 2),
        f'<text x="{_n(x)}" y="{_n(y + 13)}">{escape(text)}</text>',
        "</g>",
    ]


def _box(box: Box, lines: Sequence[Line], frame: Frame) -> list[str]:
    round_ends = min(frame.height / 2, 24.0)
    radius = 8.0 if box.kind == "step" else round_ends
    parts = [f'<g class="{box.kind}">', f"<title>{escape(_full(box))}</title>"]
    if box.many:
        pile = Frame(frame.x + 5, frame.y + 5, frame.width, frame.height)
        parts.append(_rect("pile", pile, radius))
    parts.append(_rect("frame", frame, radius))
    if box.kind == "output":
        ring = Frame(frame.x + 3, frame.y + 3, frame.width - 6, frame.height - 6)
        parts.append(_rect("ring", ring, radius - 3))
    y = frame.y + PADDING_Y + NAME - 2
    for kind, text in lines:
        parts.append(
            f'<text class="{kind}" x="{_n(frame.centre)}" y="{_n(y)}">{escape(text)}</text>'
        )
        y += LINE
    return [*parts, "</g>"]


def _full(box: Box) -> str:
    """All that is known of a box, without what was cut short."""
    lines = [box.name, box.node or box.types[""]]
    lines += [f"{name}: {text}" for name, text in {**box.ports, **box.settings}.items() if name]
    return "\n".join([*lines, *([box.runs] if box.runs else [])])


def _rect(kind: str, frame: Frame, radius: float) -> str:
    numbers = {
        "x": frame.x,
        "y": frame.y,
        "width": frame.width,
        "height": frame.height,
        "rx": radius,
    }
    attributes = "".join(f' {name}="{_n(value)}"' for name, value in numbers.items())
    return f"<rect{f' class={quoteattr(kind)}' if kind else ''}{attributes}/>"


def _file(diagram: Diagram, layout: Layout, parts: Iterable[str]) -> str:
    first = diagram.description.partition("\n")[0]
    inner = max(layout.width, min(bold_width(first, NAME), WIDEST_HEADING))
    heading = _broken(first, inner)
    top = MARGIN + (len(heading) * HEADING_LINE + HEADING_GAP if heading else 0)
    width, height = inner + 2 * MARGIN, layout.height + top + MARGIN
    left = MARGIN + (inner - layout.width) / 2
    title = [
        f'<text class="name" x="{_n(width / 2)}" y="{_n(MARGIN + NAME + row * HEADING_LINE)}">'
        f"{escape(line)}</text>"
        for row, line in enumerate(heading)
    ]
    head = f"M{-ARROW / 2} 0H{ARROW / 2}L0 {ARROW}Z"  # every way ends downwards
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="visionweave" role="img" '
            f'viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}">',
            f"<title>{escape(first or 'pipeline')}</title>",
            f"<desc>{escape(diagram.description)}</desc>",
            f"<style>{style_sheet()}</style>",
            '<defs><marker id="arrow" markerUnits="userSpaceOnUse" overflow="visible">'
            f'<path class="head" d="{head}"/></marker></defs>',
            '<rect class="paper" width="100%" height="100%"/>',
            *title,
            f'<g transform="translate({_n(left)} {_n(top)})">',
            *parts,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _broken(text: str, width: float) -> list[str]:
    """The lines of a text that is broken between words, and cut short where a word is too long."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and bold_width(longer, NAME) <= width:
            lines[-1] = longer
        else:
            lines.append(_fit(word, width))
    return lines


def _fit(text: str, width: float) -> str:
    length = len(text)
    while bold_width(clip(text, length), NAME) > width and length > 1:
        length -= 1
    return clip(text, length)


def _n(value: float) -> str:
    """A number in tenths of a pixel, without zeros behind the point."""
    return f"{value:.1f}".removesuffix(".0")

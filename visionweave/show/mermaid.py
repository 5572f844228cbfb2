"""A pipeline as a Mermaid flowchart, as GitHub and many documentation tools draw them."""

from __future__ import annotations

import re

from visionweave.pipeline import Pipeline
from visionweave.show.diagram import Box, Link, clip, make_diagram

__all__ = ["to_mermaid"]

SHAPES = {"input": '[/"{}"/]', "step": '["{}"]', "output": '(["{}"])'}
"""Inputs are parallelograms, steps boxes, outputs have round ends."""

WIDEST = 40
"""The most characters of a setting, a port's literal or a default."""


def to_mermaid(pipeline: Pipeline) -> str:
    """Return a Mermaid flowchart, top down; values that are lists flow along thick arrows."""
    diagram = make_diagram(pipeline)
    ids = [f"{box.kind}_{box.name}" for box in diagram.boxes]  # never a word of Mermaid's: `end`
    lines = ["flowchart TD"]
    lines += [f"    {id}{_shape(box)}" for id, box in zip(ids, diagram.boxes, strict=True)]
    lines += [f"    {ids[link.source]} {_arrow(link)} {ids[link.target]}" for link in diagram.links]
    return "\n".join(lines) + "\n"


def _shape(box: Box) -> str:
    lines = [f"<b>{box.name}</b>"]
    if box.kind != "output":
        lines.append(box.node or box.types[""])
    lines += [_escape(f"{name}: {clip(text, WIDEST)}") for name, text in box.literals.items()]
    if box.many:
        lines.append(f"<i>{box.runs}</i>")
    return SHAPES[box.kind].format("<br>".join(lines))


def _arrow(link: Link) -> str:
    return f'{"==>" if link.many else "-->"}|"{link.label}"|'


def _escape(text: str) -> str:
    """The text with Mermaid's codes (#35;) for what would end a label or be markup in it."""
    return re.sub(r"[\"#<>&`*;{}\\\n]", lambda match: f"#{ord(match[0])};", text)

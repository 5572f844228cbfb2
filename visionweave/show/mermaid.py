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
    ids = [_id(box, index) for index, box in enumerate(diagram.boxes)]
    lines = ["flowchart TD"]
    lines += [f"    {id}{_shape(box)}" for id, box in zip(ids, diagram.boxes, strict=True)]
    lines += [f"    {ids[link.source]} {_arrow(link)} {ids[link.target]}" for link in diagram.links]
    return "\n".join(lines) + "\n"


def _id(box: Box, index: int) -> str:
    """An id that is no word of Mermaid's (`end`), and like no other box's."""
    word = re.fullmatch(r"[A-Za-z_]\w*", box.name, re.ASCII)
    return f"{box.kind}_{box.name if word else index}"


def _shape(box: Box) -> str:
    under = {"input": box.types[""] if box.kind == "input" else "", "step": box.node, "output": ""}
    lines = [f"<b>{_escape(box.name)}</b>", _escape(under[box.kind])]
    lines += [_escape(f"{name}: {clip(text, WIDEST)}") for name, text in box.literals.items()]
    if box.many:
        lines.append(f"<i>{_escape(box.runs)}</i>")
    return SHAPES[box.kind].format("<br>".join(line for line in lines if line))


def _arrow(link: Link) -> str:
    return f'{"==>" if link.many else "-->"}|"{_escape(link.label)}"|'


def _escape(text: str) -> str:
    """The text with Mermaid's codes (#35;) for what would end a label or be markup in it."""
    return re.sub(r"[\"#<>&`*;{}\\\n]", lambda match: f"#{ord(match[0])};", text)

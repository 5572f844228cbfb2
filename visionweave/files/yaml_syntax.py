"""What is wrong with the syntax of a YAML file, in the words of its author."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError

from visionweave.errors import Problem

__all__ = ["syntax_problem"]

_ADVICE = (
    ("flow sequence", "a [ is not closed", "write the ] that belongs to it, or a comma before"),
    ("flow mapping", "a { is not closed", "write the } that belongs to it, or a comma before"),
    ("unknown escape", "", "write \\\\ for a backslash, or put the text in single quotes"),
    (
        "unexpected end of stream",
        "a quotation mark is not closed",
        "write the one that belongs to it",
    ),
    ("another document", "there are two documents", "remove the ---: one file, one pipeline"),
    ("single document", "there are two documents", "remove the ---: one file, one pipeline"),
    ("undefined alias", "", "define it with & before, or write the value out"),
    ("mapping values are not allowed", "a `: ` stands in plain text", "put the text in quotes"),
    ("could not find expected ':'", "a key has no `: `", "write `key: value`"),
    ("cannot start any token", "", "put text in quotes"),
    ("block", "the lines are not indented alike", "indent the entries of one table equally"),
)
"""Words of ruamel's messages, what they mean to the author of a file ("" for the same), advice."""


def syntax_problem(error: MarkedYAMLError, text: str, name: str) -> Problem:
    """Return ruamel's error as a problem: what it means, where it began, and what to do."""
    said = " ".join(str(error.problem or error.context).split())
    lines = text.splitlines() or [""]
    mark = error.problem_mark or error.context_mark
    what, fix = said, ""
    for words, meaning, advice in _ADVICE:
        if words in f"{error.context} {error.problem}":
            what, fix = meaning or said, advice
            # What is never closed is noticed at the end of the file; it was opened elsewhere.
            late = "not closed" in what or "no `: `" in what
            mark = error.context_mark if late else mark
            break
    at = min(mark.line, len(lines) - 1) if mark else 0
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    if "\t" in indent or "'\\t'" in said:
        what, fix = "a tab stands where YAML wants spaces", "indent with spaces"
    return Problem(
        f"{name}:{at + 1}", f"this is not valid YAML: {what}", "", lines[at].strip(), fix
    )

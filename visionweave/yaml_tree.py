"""Reading YAML as data that knows its lines.

YAML is data here: tags that would build objects are refused, nothing is imported, and an alias bomb
is stopped by counting. All that is wrong with a file is found in one reading where YAML allows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from visionweave.errors import Problem

__all__ = ["Entry", "read_yaml"]

MAX_ENTRIES = 10_000
"""More than any pipeline has, and few enough that a file of nested aliases stays harmless."""

MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "map", "seq")}
_TEXT_TAGS = {_TAG + name for name in ("timestamp", "value", "merge")}
"""What YAML gives to dates, "=" and "<<"; all but the key "<<" are text here."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A piece of a YAML file: a scalar, a list of entries, or a dict of entries by key.

    `line` is counted from 1; for the value of a key it is the key's line.
    """

    line: int
    value: Any

    def plain(self) -> Any:
        """The data without lines."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value


def read_yaml(text: str, name: str) -> tuple[Entry | None, list[Problem]]:
    """Read one YAML document.

    Args:
        text: the document.
        name: what to call it in messages.

    Returns:
        The document, or None when it cannot be read at all, and the problems found.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        return None, [_syntax_problem(error, text, name)]
    except (YAMLError, ValueError) as error:  # ValueError: a character that YAML does not allow
        reason = " ".join(str(error).split())
        return None, [Problem(name, "this is not YAML", "UTF-8 text in YAML", reason)]
    except RecursionError:
        return None, [Problem(name, "this YAML is nested too deeply", f"{MAX_DEPTH} levels")]
    if root is None:
        return None, [Problem(name, "the file is empty", "a pipeline", "nothing", _SKELETON)]
    reader = _Reader(name, yaml.constructor)
    try:
        return reader.entry(root, root.start_mark.line + 1, 0), reader.problems
    except _TooMuch as error:
        return None, [error.problem]


_SKELETON = "begin with `visionweave: 1`, then inputs, steps and outputs"


class _TooMuch(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class _Reader:
    def __init__(self, name: str, constructor: SafeConstructor) -> None:
        self._name = name
        self._count = 0
        self._constructor = constructor
        self.problems: list[Problem] = []

    def entry(self, node: Node, line: int, depth: int) -> Entry:
        self._count += 1
        if self._count > MAX_ENTRIES or depth > MAX_DEPTH:
            what = "this YAML is too large" if depth <= MAX_DEPTH else "this YAML is too deep"
            limit = f"at most {MAX_ENTRIES} entries, {MAX_DEPTH} deep, with aliases written out"
            fix = "write aliases (*name) out, or split the pipeline"
            raise _TooMuch(Problem(f"{self._name}:{line}", what, limit, "more", fix))
        tag = node.tag or ""
        if tag not in _PLAIN_TAGS | _TEXT_TAGS:
            self._report(
                node,
                f"the YAML tag {_short(tag)} is not allowed",
                "plain data: text, numbers, true, false, null, lists and tables",
                fix="remove the tag; a pipeline file cannot build objects",
            )
            return Entry(line, None)
        if isinstance(node, MappingNode):
            return Entry(line, self._mapping(node, depth))
        if isinstance(node, SequenceNode):
            parts = [self.entry(part, part.start_mark.line + 1, depth + 1) for part in node.value]
            return Entry(line, parts)
        assert isinstance(node, ScalarNode)
        return Entry(line, self._scalar(node))

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for key, value in _pairs(node):
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._report(key, "a key must be a word", "text", "a list or a table")
                continue
            if key.value in found:
                first = found[key.value].line
                self._report(
                    key,
                    f"the key '{key.value}' is given twice",
                    "each key once",
                    f"the first is in line {first}",
                    "rename or remove one of them",
                )
            found[key.value] = self.entry(value, line, depth + 1)
        return found

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        try:
            return self._constructor.construct_object(node)
        except (ValueError, YAMLError):
            self._report(node, "this value cannot be read", _short(node.tag or ""), node.value)
            return None

    def _report(
        self, node: Node, what: str, expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        where = f"{self._name}:{node.start_mark.line + 1}"
        self.problems.append(Problem(where, what, expected, got, fix))


def _pairs(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    """The pairs of a mapping, with those of merge keys (<<: *defaults) behind its own."""
    merged: list[Node] = []
    for key, value in node.value:
        if key.tag == _TAG + "merge":
            merged += value.value if isinstance(value, SequenceNode) else [value]
        else:
            yield key, value
    own = {key.value for key, _ in node.value if isinstance(key, ScalarNode)}
    for other in merged:
        for key, value in other.value if isinstance(other, MappingNode) else ():
            if key.value not in own:
                own.add(key.value)
                yield key, value


def _syntax_problem(error: MarkedYAMLError, text: str, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    source = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
    what = " ".join(str(error.problem or error.context).split())
    fix = ""
    if "\t" in source[: len(source) - len(source.lstrip())] or "'\\t'" in what:
        what, fix = "a tab stands where YAML wants spaces", "indent with spaces"
    elif "another document" in str(error) or "expected a single document" in str(error):
        fix = "one file holds one pipeline: remove the `---`"
    elif "undefined alias" in what:
        fix = "define it with & before, or write the value out"
    return Problem(f"{name}:{line}", f"this is not valid YAML: {what}", "", repr(source), fix)


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag

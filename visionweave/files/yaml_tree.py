"""Reading YAML as data that knows its lines.

YAML is data here: tags that would build objects are refused, nothing is imported, and an alias bomb
is stopped by counting. All that is wrong with a file is found in one reading where YAML allows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from visionweave.errors import Problem
from visionweave.files.yaml_syntax import syntax_problem
from visionweave.plain import show

__all__ = ["UNREADABLE", "Entry", "Report", "read_yaml"]

MAX_ENTRIES = 10_000
"""More than any pipeline has, and few enough that a file of nested aliases stays harmless."""

MAX_DEPTH = 50

_DEEP = "this YAML is nested too deeply", f"at most {MAX_DEPTH} levels"

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "map", "seq")}
_TEXT_TAGS = {_TAG + name for name in ("timestamp", "value", "merge")}
"""What YAML gives to dates, "=" and "<<"; all but the key "<<" are text here."""


UNREADABLE = object()


@dataclass(frozen=True, slots=True)
class Entry:
    """A piece of a YAML file: a scalar, a list of entries, or a dict of entries by key.

    `line` is counted from 1; for the value of a key it is the key's line. `value` is UNREADABLE
    where a problem is reported already.
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


class Report:
    """The problems of one file, as they are found.

    Attributes:
        file: what the file is called in messages.
        problems: what was found so far.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def place(self, line: int, within: str = "") -> str:
        """The place to report for a line, such as "cut.yaml:7, step 'boxes'"."""
        return f"{self.file}:{line}, {within}" if within else f"{self.file}:{line}"

    def add(self, line: int, what: str, expected: str = "", got: str = "", fix: str = "") -> None:
        """Report a problem in a line."""
        self.problems.append(Problem(self.place(line), what, expected, got, fix))

    def note(self, *problems: Problem | None) -> None:
        """Report problems found elsewhere; None is none."""
        self.problems += [problem for problem in problems if problem is not None]

    def in_order(self) -> list[Problem]:
        """The problems, sorted by line."""
        return sorted(self.problems, key=self._line)

    def _line(self, problem: Problem) -> int:
        match = re.match(r":(\d+)", problem.where.removeprefix(self.file))
        return int(match[1]) if match else 0


def read_yaml(text: str, name: str) -> tuple[Entry | None, list[Problem]]:
    """Read one YAML document.

    Args:
        text: the document.
        name: what to call it in messages.

    Returns:
        The document, or None when it cannot be read at all, and the problems found.
    """
    report = Report(name)
    try:
        return _read(text, report), report.problems
    except _Unreadable:
        return None, report.problems


class _Unreadable(Exception):
    """Raised when there is no use in reading on; the problem is reported already."""


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        self.line = line


class _ShallowComposer(Composer):
    """ruamel's composer, which stops at a depth, and not where Python's stack ends."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > MAX_DEPTH:
            raise _TooDeep(self.parser.peek_event().start_mark.line + 1)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _read(text: str, report: Report) -> Entry | None:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _ShallowComposer
    yaml.composer.warn_double_anchors = False  # YAML allows them; the later one holds
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        report.problems.append(syntax_problem(error, text, report.file))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        report.add(line, what, "UTF-8 text", fix="remove it, or save the file as UTF-8")
    except (ValueError, OverflowError):  # from chr()
        escape = re.search(r"\\U(?!000|0010)\w{8}", text)
        line = text.count("\n", 0, escape.start() if escape else 0) + 1
        report.add(line, "an escape (\\U) stands for no character", "at most \\U0010FFFF")
    except _TooDeep as error:
        report.add(error.line, *_DEEP)
    else:
        if root is None:
            return Entry(1, None)
        return _Reader(report, yaml.constructor).entry(root, root.start_mark.line + 1)
    return None


class _Reader:
    """Turns ruamel's nodes into entries."""

    def __init__(self, report: Report, constructor: SafeConstructor) -> None:
        self._report, self._constructor = report, constructor
        self._count = 0
        self._open: set[int] = set()  # the ids of the nodes that the present one stands in

    def entry(self, node: Node, line: int) -> Entry:
        tag = node.tag or ""
        if tag not in _PLAIN_TAGS | _TEXT_TAGS:
            self._report.add(
                node.start_mark.line + 1,
                f"the YAML tag {_short(tag)} is not allowed",
                "plain data: text, numbers, true, false, null, lists and tables",
                fix="remove the tag; a pipeline file cannot build objects",
            )
            return Entry(line, UNREADABLE)
        with self._inside(node, line):
            if isinstance(node, MappingNode):
                return Entry(line, self._mapping(node))
            if isinstance(node, SequenceNode):
                return Entry(line, self._sequence(node))
            assert isinstance(node, ScalarNode)
            return Entry(line, self._scalar(node))

    @contextmanager
    def _inside(self, node: Node, line: int) -> Iterator[None]:
        """Count a node that is being read, so that no alias makes the reading endless."""
        self._count += 1
        what = expected = fix = ""
        if id(node) in self._open:
            what, fix = f"the alias *{node.anchor} stands inside what it stands for", "remove it"
        elif len(self._open) >= MAX_DEPTH:
            what, expected = _DEEP
        elif self._count > MAX_ENTRIES:
            what, fix = "this YAML is too large", "use fewer aliases, or split the pipeline"
            expected = f"at most {MAX_ENTRIES} entries, with aliases written out"
        if what:
            self._report.add(line, what, expected, fix=fix)
            raise _Unreadable
        self._open.add(id(node))
        yield
        self._open.remove(id(node))

    def _sequence(self, node: SequenceNode) -> Any:
        parts = [self.entry(part, part.start_mark.line + 1) for part in node.value]
        return UNREADABLE if any(part.value is UNREADABLE for part in parts) else parts

    def _mapping(self, node: MappingNode) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        own: dict[str, int] = {}  # the lines of keys written here, not merged
        for key, value, merged in self._pairs(node):
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._report.add(line, "a key must be a word", "text", "a list or a table")
            elif key.value in own and not merged:
                what, first = f"the key '{key.value}' is given twice", own[key.value]
                fix = "rename or remove one of them"
                self._report.add(line, what, "each key once", f"first in line {first}", fix)
            elif not (key.value in found and merged):
                found[key.value] = self.entry(value, line)
                if not merged:
                    own[key.value] = line
        return found

    def _pairs(self, node: MappingNode) -> Iterator[tuple[Node, Node, bool]]:
        """The pairs of a mapping, those of merge keys (<<: *defaults) last; are they merged?"""
        others: list[Node] = []
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                others += value.value if isinstance(value, SequenceNode) else [value]
            else:
                yield key, value, False
        for other in others:
            line = other.start_mark.line + 1
            if not isinstance(other, MappingNode):
                self._report.add(line, "only a table can be merged with <<", "<<: *name-of-a-table")
                continue
            with self._inside(other, line):
                for key, value, _ in self._pairs(other):
                    yield key, value, True

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        expected = _SCALARS.get(_short(node.tag or ""), "text")
        try:
            return self._constructor.construct_object(node)
        except Exception:  # ruamel lets through whatever a wrong text leads to, KeyError for !!bool
            line = node.start_mark.line + 1
            self._report.add(line, "this value cannot be read", expected, show(node.value))
            return UNREADABLE


_SCALARS = {"!!int": "a whole number", "!!float": "a number", "!!bool": "true or false"}


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag

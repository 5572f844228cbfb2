"""Reading YAML as data that knows its lines.

YAML is data here: tags that would build objects are refused, nothing is imported, and an alias bomb
is stopped by counting. All that is wrong with a file is found in one reading where YAML allows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from visionweave.errors import Problem
from visionweave.plain import show

__all__ = ["Entry", "Report", "read_yaml"]

MAX_ENTRIES = 10_000
"""More than any pipeline has, and few enough that a file of nested aliases stays harmless."""

MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "map", "seq")}
_TEXT_TAGS = {_TAG + name for name in ("timestamp", "value", "merge")}
"""What YAML gives to dates, "=" and "<<"; all but the key "<<" are text here."""

_EMPTY = "begin with `visionweave: 1`, then inputs, steps and outputs"


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


def _read(text: str, report: Report) -> Entry | None:
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML allows them; the later one holds
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        report.problems.append(syntax_problem(error, text, report.file))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        report.add(line, what, "UTF-8 text", fix="remove it, or save the file as UTF-8")
    except (YAMLError, ValueError, OverflowError) as error:
        report.add(1, "this is not valid YAML", "UTF-8 text in YAML", _one_line(error))
    except RecursionError:
        report.add(1, "this YAML is nested too deeply", f"at most {MAX_DEPTH} levels")
    else:
        if root is None:
            report.add(1, "the file is empty", "a pipeline", fix=_EMPTY)
            return None
        return _Reader(report, yaml.constructor).entry(root, root.start_mark.line + 1, 0)
    return None


class _Reader:
    """Turns ruamel's nodes into entries."""

    def __init__(self, report: Report, constructor: SafeConstructor) -> None:
        self._report, self._constructor = report, constructor
        self._count = 0

    def entry(self, node: Node, line: int, depth: int) -> Entry:
        self._count_one(line, depth)
        tag = node.tag or ""
        if tag not in _PLAIN_TAGS | _TEXT_TAGS:
            self._report.add(
                node.start_mark.line + 1,
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

    def _count_one(self, line: int, depth: int) -> None:
        self._count += 1
        if depth > MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} levels, with aliases (*name) written out"
            fix = "an alias must not stand inside what it stands for"
            self._report.add(line, "this YAML is nested too deeply", expected, fix=fix)
        elif self._count > MAX_ENTRIES:
            expected = f"at most {MAX_ENTRIES} entries, with aliases (*name) written out"
            fix = "use fewer aliases, or split the pipeline"
            self._report.add(line, "this YAML is too large", expected, fix=fix)
        else:
            return
        raise _Unreadable

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        own: dict[str, int] = {}  # the lines of keys written here, not merged
        for key, value, merged in self._pairs(node, depth):
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._report.add(line, "a key must be a word", "text", "a list or a table")
            elif key.value in own and not merged:
                what, first = f"the key '{key.value}' is given twice", own[key.value]
                fix = "rename or remove one of them"
                self._report.add(line, what, "each key once", f"first in line {first}", fix)
            elif not (key.value in found and merged):
                found[key.value] = self.entry(value, line, depth + 1)
                if not merged:
                    own[key.value] = line
        return found

    def _pairs(self, node: MappingNode, depth: int) -> Iterator[tuple[Node, Node, bool]]:
        """The pairs of a mapping, those of merge keys (<<: *defaults) last; are they merged?"""
        others: list[Node] = []
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                others += value.value if isinstance(value, SequenceNode) else [value]
            else:
                yield key, value, False
        for other in others:
            line = other.start_mark.line + 1
            self._count_one(line, depth + 1)
            if isinstance(other, MappingNode):
                for key, value, _ in self._pairs(other, depth + 1):
                    yield key, value, True
            else:
                self._report.add(line, "only a table can be merged with <<", "<<: *name-of-a-table")

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        try:
            return self._constructor.construct_object(node)
        except (ValueError, YAMLError):
            line, tag = node.start_mark.line + 1, _short(node.tag or "")
            self._report.add(line, "this value cannot be read", tag, show(node.value))
            return None


_ADVICE = (
    ("flow sequence", "a [ is not closed", "write the ] that belongs to it, or a comma before"),
    ("flow mapping", "a { is not closed", "write the } that belongs to it, or a comma before"),
    ("quoted scalar", "a quotation mark is not closed", "write the one that belongs to it"),
    ("another document", "there are two documents", "remove the ---: one file, one pipeline"),
    ("single document", "there are two documents", "remove the ---: one file, one pipeline"),
    ("undefined alias", "", "define it with & before, or write the value out"),
    ("mapping values are not allowed", "a `: ` is not expected here", "put text in quotes"),
    ("could not find expected ':'", "a key has no `: `", "write `key: value`"),
    ("cannot start any token", "", "put text in quotes"),
    ("block", "the lines are not indented alike", "indent the entries of one table equally"),
)
"""Words of ruamel's messages, what they mean to the author of a file ("" for the same), advice."""


def syntax_problem(error: MarkedYAMLError, text: str, name: str) -> Problem:
    """Say in the words of a file's author what is wrong with its YAML."""
    said = _one_line(error.problem or error.context)
    lines = text.splitlines() or [""]
    mark = error.problem_mark or error.context_mark
    what, fix = said, ""
    for words, meaning, advice in _ADVICE:
        if words in f"{error.context} {error.problem}":
            what, fix = meaning or said, advice
            # ruamel notices what is open at the end of the file; it was opened elsewhere.
            mark = error.context_mark if "not closed" in what else mark
            break
    at = min(mark.line, len(lines) - 1) if mark else 0
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    if "\t" in indent or "'\\t'" in said:
        what, fix = "a tab stands where YAML wants spaces", "indent with spaces"
    return Problem(f"{name}:{at + 1}", f"this is not valid YAML: {what}", "", lines[at].strip(), fix)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag

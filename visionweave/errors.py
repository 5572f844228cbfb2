"""Every error and warning that visionweave raises on purpose.

WeaveError
├── ValueTypeError   a value was built from data that breaks its law (also a ValueError)
├── ImageError       a photo cannot be read
├── NodeError        a node class breaks the node contract, or cannot be found or imported
├── PipelineError    a pipeline file, graph or setting is wrong; carries every Problem found
├── NodeFailed       a step failed on one item or on one object of it
├── DeviceError      the device or precision asked for is not on this machine
├── WeightsError     a checkpoint is unknown, missing, not what it should be, or not to be used yet
└── JobError         a folder job cannot start

WeaveWarning
├── ImageWarning     a photo was read, but not quite as its file says
└── PipelineWarning  a pipeline works, but holds something its author did not mean

A message says where, what was expected, what came, and what to do. The command line prints a
`WeaveError` without a traceback; anything else is a fault of ours and shows one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "DeviceError",
    "ImageError",
    "ImageWarning",
    "JobError",
    "NodeError",
    "NodeFailed",
    "PipelineError",
    "PipelineWarning",
    "Problem",
    "ValueTypeError",
    "WeaveError",
    "WeaveWarning",
    "WeightsError",
    "did_you_mean",
]


class WeaveError(Exception):
    """Raised when something is wrong that the user can put right; the base of all the others."""


class ValueTypeError(WeaveError, ValueError):
    """Raised when a value is built from data of the wrong type, shape, range or space."""


class ImageError(WeaveError):
    """Raised when a photo cannot be read: `path` names it, `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: cannot read this image: {self.reason}"


class NodeError(WeaveError):
    """Raised when a node cannot be found or imported, or breaks `visionweave.contract`."""


class DeviceError(WeaveError):
    """Raised when the device or precision asked for is not on this machine."""


class WeightsError(WeaveError):
    """Raised when a checkpoint is not listed, not here, not what its receipt says, or unsafe.

    Also when its licence restricts use and nobody on this machine has accepted that.
    """


class JobError(WeaveError):
    """Raised when a folder job cannot start: nothing to read, or no place to write."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a pipeline: where it is, what was expected, what came, and what to do."""

    where: str
    what: str
    expected: str = ""
    got: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        for title, text in (("expected", self.expected), ("got", self.got), ("fix", self.fix)):
            if text:
                lines.append(f"  {title + ':':9} {text}")
        return "\n".join(lines)


class PipelineError(WeaveError):
    """Raised when a pipeline file, a graph or a setting is wrong. `problems` holds all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        body = "\n".join(str(problem) for problem in self.problems)
        count = len(self.problems)
        return body if count == 1 else f"{count} problems\n{body}"


class NodeFailed(WeaveError):
    """Raised when a step fails on one item. The cause is `__cause__`, and its text is `reason`.

    Attributes:
        step: the step's name in the pipeline, or the input's name when reading it failed.
        node: the node's id, such as "sam.segment"; "" when an input could not be read.
        item: the photo (or other item) it failed on.
        object: the index of the object it failed on, or None when the whole item failed.
        label: that object's label, or "".
        error: the class name of the cause.
        reason: the message of the cause.
    """

    def __init__(
        self,
        step: str,
        node: str,
        item: str,
        object: int | None = None,
        label: str = "",
        error: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(step, node, item, object, label, error, reason)
        self.step, self.node, self.item = step, node, item
        self.object, self.label = object, label
        self.error, self.reason = error, reason

    def __str__(self) -> str:
        step = f"step '{self.step}' ({self.node})" if self.node else f"input '{self.step}'"
        thing = "" if self.object is None else f", object {self.object}"
        if self.label:
            thing += f" ({self.label})"
        return f"{step} failed on {self.item}{thing}: {self.error}: {self.reason}"


class WeaveWarning(UserWarning):
    """The base of visionweave's warnings."""


class ImageWarning(WeaveWarning):
    """Issued when a photo was read, but not quite as its file says (first frame, odd profile)."""


class PipelineWarning(WeaveWarning):
    """Issued when a pipeline works, but holds something its author did not mean (unused step)."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean X?" for the nearest of `known`, or "" when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""

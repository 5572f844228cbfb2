"""Items on their way in: from what the user gives to chunks of checked, decoded values.

While the caller works on a chunk, the next one is decoded in worker threads. A chunk ends at its
number of items or at its bytes of pixels, so that a folder of large photos takes no more memory
than one of small ones. Two chunks are in memory at a time, and no item beyond them is read, but for
one that did not fit into the second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Self

from visionweave.errors import (
    ImageError,
    NodeFailed,
    PipelineError,
    Problem,
    ValueTypeError,
    did_you_mean,
)
from visionweave.execution.failures import Failed, without_frames
from visionweave.execution.plan import Plan, PlannedInput
from visionweave.types import PortType
from visionweave.values import Image

__all__ = ["CHUNK_BYTES", "Item", "make_item", "read_chunks"]

CHUNK_BYTES = 512 * 2**20
"""The pixels of one chunk: 14 photos of 12 megapixels."""


@dataclass(slots=True)
class Item:
    """One photo, or one set of inputs, on its way through the graph.

    Attributes:
        name: what it is called in results and failures.
        values: a value or a Failed for each of the slots that the plan is given.
        failures: what went wrong with it so far.
        seconds: what reading and decoding it took.
    """

    name: str
    values: list[Any]
    failures: list[NodeFailed] = field(default_factory=list)
    seconds: float = 0.0

    def fetch(self) -> None:
        """Fetch what of its values is elsewhere. Called in worker threads."""

    def images(self) -> Iterator[Image]:
        """The photos among the values."""
        return _images(self.values)

    def pixel_bytes(self) -> int:
        """How much memory its photos take when decoded; unreadable ones take none."""
        total = 0
        for image in self.images():
            with contextlib.suppress(ImageError):
                total += image.decoded_bytes
        return total

    def decode(self, inputs: tuple[PlannedInput, ...]) -> Self:
        """Decode the photos, and return the item; an unreadable photo becomes a Failed."""
        for place, planned in enumerate(inputs):
            name, value = planned.given.name, self.values[place]
            if not planned.read:
                continue
            if isinstance(value, list):
                decoded = [self._decode(name, index, each) for index, each in enumerate(value)]
                self.values[place] = decoded
            else:
                self.values[place] = self._decode(name, None, value)
        return self

    def _decode(self, name: str, index: int | None, value: Any) -> Any:
        if isinstance(value, Image):
            try:
                value.decode()
            except ImageError as error:
                return self.unreadable(name, index, error)
        return value

    def unreadable(self, name: str, index: int | None, error: ImageError) -> Failed:
        """Record that the photo of an input (or one of its list) cannot be read."""
        failure = NodeFailed(name, "", self.name, index, "", "ImageError", error.reason)
        failure.__cause__ = without_frames(error)
        self.failures.append(failure)
        return Failed(failure)


def make_item(plan: Plan, given: Any, index: int) -> Item:
    """Check what was given for one item against the inputs, and convert it to values.

    Args:
        plan: the plan whose inputs are wanted.
        given: a mapping of inputs by name, or the value of the only input without a default.
        index: the item's number, for the name of one without a photo.

    Raises:
        PipelineError: an input is missing, unknown, or not of its type.
    """
    wanted = {each.given.name: each for each in plan.inputs}
    if not isinstance(given, Mapping):
        given = {_only_input(plan): given}
    problems = [
        Problem(
            "inputs",
            f"there is no input '{name}'",
            expected=", ".join(wanted) or "none",
            got=str(name),
            fix=did_you_mean(str(name), wanted),
        )
        for name in given
        if name not in wanted
    ]
    item = Item(f"item {index}", [])
    for name, each in wanted.items():
        try:
            item.values.append(_for_fits(_value(each, given), each))
        except ImageError as error:  # a Pillow image with pixels that nobody can show
            item.values.append(item.unreadable(name, None, error))
        except ValueTypeError as error:
            problems.append(_input_problem(name, each.given.type, error))
    if problems:
        raise PipelineError(problems)
    item.name = _name(plan, item)
    return item


def _name(plan: Plan, item: Item) -> str:
    """The name of the photo that the item is about: no default's, while there is another."""
    own = [
        value
        for each, value in zip(plan.inputs, item.values, strict=False)
        if each.given.default is None
    ]
    first = next(_images([*own, *item.values]), None)
    return (first.origin.photo if first is not None else "") or item.name


def _images(values: Iterable[Any]) -> Iterator[Image]:
    for value in values:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Image):
                yield each


def _value(planned: PlannedInput, given: Mapping[str, Any]) -> Any:
    """What was given for an input, else its default."""
    name, default = planned.given.name, planned.given.default
    if name in given:
        return planned.given.type.coerce(given[name])
    if default is None:
        raise ValueTypeError("nothing")
    return default.value


def _input_problem(name: str, kind: PortType, error: ValueTypeError) -> Problem:
    reason = str(error)
    if reason.startswith("expected "):  # "expected Image; got int 3"
        reason = reason.rpartition("; got ")[2]
    return Problem("inputs", f"input '{name}' is wrong", str(kind), reason)


def _for_fits(value: Any, planned: PlannedInput) -> Any:
    if isinstance(value, list):
        return [_for_fits(each, planned) for each in value]
    return value.for_fits(planned.fits) if isinstance(value, Image) else value


def _only_input(plan: Plan) -> str:
    names = [each.given.name for each in plan.inputs if each.given.default is None]
    names = names or [each.given.name for each in plan.inputs]
    if len(names) != 1:
        what = "a single value was given, but the pipeline has several inputs"
        fix = f"give a dict: {{{', '.join(f'{name!r}: ...' for name in names)}}}"
        raise PipelineError([Problem("inputs", what, ", ".join(names), "one value", fix)])
    return names[0]


def read_chunks(
    items: Iterable[Item], size: int, pool: Executor | None, ready: Callable[[Item], Item]
) -> Iterator[list[Item]]:
    """Take `items` in chunks of at most `size`, with `ready` called on each, one chunk ahead.

    That is done in `pool`; without one nothing is read ahead. An error of `items` comes after all
    that were before it.
    """
    ended: list[Exception] = []
    chunks = _split(_until_error(items, ended), size)
    if pool is None:
        yield from (list(map(ready, chunk)) for chunk in chunks)
    else:
        ahead = None
        for chunk in chunks:
            decoding = pool.map(ready, chunk)
            if ahead is not None:
                yield list(ahead)
            ahead = decoding
        if ahead is not None:
            yield list(ahead)
    for error in ended:
        raise error


def _until_error(items: Iterable[Item], ended: list[Exception]) -> Iterator[Item]:
    """The items until there are no more, or until an error, which is noted."""
    try:
        yield from items
    except Exception as error:
        ended.append(error)


def _split(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    room = CHUNK_BYTES
    for item in items:
        need = item.pixel_bytes()
        if chunk and need > room:
            yield chunk
            chunk, room = [], CHUNK_BYTES
        chunk.append(item)
        room -= need
        if len(chunk) == size:
            yield chunk
            chunk, room = [], CHUNK_BYTES
    if chunk:
        yield chunk

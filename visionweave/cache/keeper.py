"""The result cache at work: a keeper that knows what models computed before.

A call of a model is known by what its step is and by what it is given. Where the same call has run
before, here or in another job, its result is known: by fingerprint, so that the next model's call
can be looked for, without a photo being decoded or a result being read. A result is read from the
cache when a step that must run wants it, or when it goes out of the run.

So a changed setting runs the models again that depend on it, but of those only the calls whose
arguments came out differently: a box more is one mask, one cutout and one mesh more. Steps without
a model are quick, and run; failures are not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, Self

from visionweave.cache.blob import pack
from visionweave.cache.fingerprint import fingerprint
from visionweave.cache.known import Kept, Known, Question, outputs_of, values_for
from visionweave.cache.owner import Owner, Owners, owner_of
from visionweave.cache.photos import PhotoHashes
from visionweave.cache.steps import StepKeys
from visionweave.cache.store import Found, ResultCache
from visionweave.canonical import digest
from visionweave.contract import ModelNode
from visionweave.errors import ImageError, WeaveError
from visionweave.execution.calls import Call
from visionweave.execution.failures import Failed
from visionweave.execution.items import Item
from visionweave.execution.keeper import Compute, Keeper
from visionweave.execution.plan import Plan, PlannedStep
from visionweave.values import Image

__all__ = ["CacheKeeper"]

Again = Callable[[PlannedStep, Call, Question], None]

WAITING = 32
"""How many results may wait to be written."""


class CacheKeeper(Keeper):
    """Finds results in a cache, and puts new ones there, in a thread of its own.

    Args:
        cache: the cache.
        keys: what the steps are.
        photos: the hashes of photos.
    """

    def __init__(self, cache: ResultCache, keys: StepKeys, photos: PhotoHashes) -> None:
        self._cache, self._keys, self._photos = cache, keys, photos
        self._asked: dict[Call, Question] = {}
        self._ahead: dict[str, Found] = {}  # found when it was asked whether to decode
        self._waiting: deque[Future[None]] = deque()
        self._first: list[tuple[PlannedStep, list[int | None]]] = []

    def __enter__(self) -> Self:
        self._writer = ThreadPoolExecutor(1, "visionweave-cache")
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.shutdown()
        self._settle(0)
        self._cache.flush()

    def run_started(self, plan: Plan) -> None:
        """Note which steps read photos and nothing that another step gives."""
        places = {planned.slot: place for place, planned in enumerate(plan.inputs)}
        images = {p.slot for p in plan.inputs if p.read and Image in p.given.type.kinds}
        self._first.clear()
        for step in plan.steps:
            slots = {argument.slot for argument in step.arguments} - {None}
            if slots & images and slots <= places.keys():
                self._first.append((step, [places.get(a.slot) for a in step.arguments]))  # type: ignore[arg-type]

    def wants_pixels(self, item: Item) -> bool:
        """Whether one of the first steps to read an item's photos has to run."""
        item.values[:] = self._photos.hold(item.values)
        return not (self._first and all(self._knows(*first, item) for first in self._first))

    def _knows(self, step: PlannedStep, places: list[int | None], item: Item) -> bool:
        if step.depth or not isinstance(step.node, ModelNode):
            return False
        arguments = [
            argument.constant if place is None else item.values[place]
            for argument, place in zip(step.arguments, places, strict=True)
        ]
        question = self._ask(step, arguments, {})
        found = None if question is None else self._cache.find(question.key)
        if question is None or found is None:
            return False
        self._ahead[question.key] = found
        return True

    def left(self, step: PlannedStep, calls: list[Call], compute: Compute) -> list[Call]:
        """Look for the results of a model's calls; read what the others are given."""
        self._asked.clear()
        left = calls
        if isinstance(step.node, ModelNode):
            memo: dict[int, str] = {}
            again = partial(self._again, compute)
            left = [call for call in calls if not self._find(step, call, memo, again)]
        return [call for call in left if _ready(call)]

    def _find(self, step: PlannedStep, call: Call, memo: dict[int, str], again: Again) -> bool:
        question = self._ask(step, call.arguments, memo)
        if question is None:
            return False
        found = self._ahead.pop(question.key, None) or self._cache.find(question.key)
        if found is None:
            self._asked[call] = question
            return False
        call.outcome = Known(self._cache, step, call, question, found, again).outcome()
        return True

    def _again(self, compute: Compute, step: PlannedStep, call: Call, question: Question) -> None:
        self._asked[call] = question  # so that it is kept
        compute(step, [call])

    def _ask(
        self, step: PlannedStep, arguments: Sequence[Any], memo: dict[int, str]
    ) -> Question | None:
        """Return the question to the cache for a call; None when an argument cannot be read."""
        values = list(chain.from_iterable(map(_flat, arguments)))
        if any(type(value) is Failed for value in values):
            return None
        try:
            prints = [_shape(value, memo) for value in arguments]
        except ImageError:
            return None
        owners = Owners(map(_owner, values))
        key = digest([self._keys[step.name], prints, owners.pattern])
        return Question(key, owners)

    def keep(self, step: PlannedStep, calls: Sequence[Call]) -> None:
        """Have the results of calls written."""
        for call in calls:
            question = self._asked.pop(call, None)
            if question is None or type(call.outcome) is Failed:
                continue
            result = outputs_of(step, call.outcome)
            self._waiting.append(self._writer.submit(self._put, question, result))
        self._settle(WAITING)

    def value(self, value: Any) -> Any:
        """Read what goes out of the run."""
        return values_for(value)

    def _put(self, question: Question, result: dict[str, Any]) -> None:
        try:
            packed = pack(result, question.owners)
        except WeaveError:  # a photo that went through, and is gone by now
            return
        if packed is not None:
            self._cache.put(question.key, *packed)

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft().result()


def _ready(call: Call) -> bool:
    """Read the arguments of a call; False, with the failure as its outcome, when one is lost."""
    call.arguments = [values_for(argument) for argument in call.arguments]
    lost = next((each for each in call.arguments if type(each) is Failed), None)
    call.outcome = lost
    return lost is None


def _shape(value: Any, memo: dict[int, str]) -> Any:
    """The fingerprint of an argument, or (nested) lists of them; each value is looked at once."""
    if isinstance(value, list):
        return [_shape(each, memo) for each in value]
    if type(value) is Kept:
        return value.fingerprint
    if id(value) not in memo:
        memo[id(value)] = fingerprint(value)
    return memo[id(value)]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from chain.from_iterable(map(_flat, value))
    else:
        yield value


def _owner(value: Any) -> Owner:
    return value.owner if type(value) is Kept else owner_of(value)

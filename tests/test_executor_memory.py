"""What the executor keeps in memory, and for how long."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionweave import Image, Input, Node, Pipeline, Text, batched, node
from visionweave.execution.executor import Result


class Traced(Text):
    """A text that can be referred to weakly."""

    __slots__ = ("__weakref__",)


@node("memory.trace")
class Trace(Node):
    """The same text in a value of which one can ask whether it is still alive."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Traced]] = []

    def run(self, text: Text) -> Text:
        value = Traced(text.text)
        self.made.append(weakref.ref(value))
        return value

    def alive(self) -> int:
        gc.collect()
        return sum(ref() is not None for ref in self.made)


@node("memory.watch")
class Watch(Node):
    """Make a new text, and note how many of the traced ones are alive by then."""

    def __init__(self) -> None:
        self.alive: list[int] = []

    def run(self, text: Text) -> Text:
        self.alive.append(TRACE.alive())
        return Text(text.text)


@node("memory.shout")
class Shout(Node):
    """A text in capitals; but not of a "?"."""

    def run(self, text: Text) -> Text:
        if text.text == "?":
            raise ValueError("what?")
        return Text(text.text.upper())


@node("memory.encode")
class Encode(Node):
    """A model that cannot encode a "?"."""

    async def run(self, text: Text) -> Text:
        return Text(await self.encode(text))

    @batched(size=4)
    def encode(self, texts: list[Text]) -> list[str]:
        if any(text.text == "?" for text in texts):
            raise ValueError("what?")
        return [text.text.upper() for text in texts]


@node("memory.split")
class Split(Node):
    """The words of a text."""

    def run(self, text: Text) -> list[Text]:
        return [Text(word) for word in text.text.split()]


@node("memory.join")
class Join(Node):
    """Texts as one."""

    def run(self, texts: list[Text]) -> Text:
        return Text("+".join(each.text for each in texts))


@node("memory.first")
class First(Node):
    """The first of two texts."""

    def run(self, first: Text, second: Text) -> Text:
        return Text(first.text)


TEXT = Input("text", Text)
TRACE = Trace()


@pytest.fixture(autouse=True)
def _forget_what_was_traced() -> None:
    TRACE.made.clear()


def outputs(pipeline: Pipeline, items: list[str]) -> list[str]:
    return [result["out"].text for result in pipeline.map(items)]


def test_a_value_is_freed_after_its_last_reader() -> None:
    watch = Watch()
    assert outputs(Pipeline(out=watch(Shout()(TRACE(TEXT)))), ["a", "b", "c"]) == ["A", "B", "C"]
    assert (len(TRACE.made), watch.alive) == (3, [0, 0, 0])


def test_a_value_lives_until_its_last_reader_or_its_output_has_it() -> None:
    watch, traced = Watch(), TRACE(TEXT)
    outputs(Pipeline(out=First()(watch(Shout()(traced)), traced)), ["a", "b", "c"])
    assert watch.alive == [3, 3, 3]
    outputs(Pipeline(out=watch(Shout()(traced)), traced=traced), ["a"])
    assert watch.alive == [3, 3, 3, 1]


def test_an_input_is_freed_after_its_last_reader() -> None:
    watch = Watch()
    items = (TRACE.run(Text(word)) for word in ["a", "b"])
    assert [r["out"].text for r in Pipeline(out=watch(Shout()(TEXT))).map(items)] == ["A", "B"]
    assert (len(TRACE.made), watch.alive) == (2, [0, 0])


def test_an_object_is_freed_after_its_last_reader() -> None:
    watch = Watch()
    pipeline = Pipeline(out=watch(Join()(Encode()(TRACE(Split()(TEXT))))))
    assert outputs(pipeline, ["a b", "c d e"]) == ["A+B", "C+D+E"]
    assert (len(TRACE.made), watch.alive) == (5, [0, 0])


def test_an_output_is_freed_once_it_is_handed_out() -> None:
    results = Pipeline(out=TRACE(TEXT)).map(["a", "b", "c"], chunk=2)
    result = next(results)
    assert (result.name, TRACE.alive()) == ("item 0", 2)
    del result
    assert TRACE.alive() == 1
    assert [(next(results).name, TRACE.alive()) for _ in range(2)] == [("item 1", 0), ("item 2", 0)]


@pytest.mark.parametrize("failing", [Shout(), Encode()], ids=["plain node", "batched node"])
def test_a_failure_that_is_kept_holds_no_values(failing: Node) -> None:
    watch = Watch()
    pipeline = Pipeline(bad=failing(TRACE(TEXT)), out=watch(TEXT))
    results = pipeline.map(["a", "?", "b"])
    failures = [failure for result in results for failure in result.failures]
    assert [str(failure.__cause__) for failure in failures] == ["what?"]
    assert (len(TRACE.made), TRACE.alive()) == (3, 0)


def test_an_error_is_gone_from_memory_while_later_steps_run() -> None:
    watch = Watch()
    failing = Pipeline(kept=Shout()(TRACE(TEXT)), out=watch(TEXT))
    assert [result["out"].text for result in failing.map(["?", "?"])] == ["?", "?"]
    assert watch.alive == [0, 0]


def test_a_photo_of_twelve_megapixels_is_passed_on_without_a_copy() -> None:
    @node("memory.same")
    class Same(Node):
        def run(self, image: Image) -> Image:
            return image

    pixels = np.zeros((3000, 4000, 3), np.uint8)
    image = Image.from_array(pixels)
    (result,) = Pipeline(out=Same()(Same()(Input("photo", Image)))).map([image])
    assert result["out"] is image
    assert np.shares_memory(result["out"].pixels, pixels)


PEAK = """
import sys
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from visionweave import Boxes, Image, Input, Node, Pipeline, Text, batched, node


@node("peak.shrink")
class Shrink(Node):
    def run(self, image: Image) -> Image:
        return Image.from_array(image.pixels[::2, ::2].copy(), image.origin.photo)


@node("peak.find")
class Find(Node):
    def run(self, image: Image) -> list[Image]:
        return [Image.from_array(image.pixels[i:, i:]) for i in range(2)]


@node("peak.describe")
class Describe(Node):
    async def run(self, image: Image) -> Text:
        return Text(str(await self.largest(image.pixels)))

    @batched(size=32)
    def largest(self, pixels: list[np.ndarray]) -> list[int]:
        return [int(each.max()) for each in pixels]


photos = sorted(Path(sys.argv[1]).iterdir())
small = Shrink()(Input("photo", Image))
pipeline = Pipeline(small=small, largest=Describe()(Find()(small)))
items = islice(cycle(photos), int(sys.argv[2]))
done = sum(len(result["largest"]) for result in pipeline.map(items))
status = Path("/proc/self/status").read_text()
print(done, next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def peak_kilobytes(photos: Path, count: int) -> int:
    command = [sys.executable, "-c", PEAK, str(photos), str(count)]
    done, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(done) == 2 * count
    return int(peak)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_ten_thousand_photos_take_no_more_memory_than_a_hundred(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 24, 32, 3), np.uint8)
    for index, pixels in enumerate(noise):
        Image.from_array(pixels).to_pil().save(tmp_path / f"{index:02}.jpg")
    assert peak_kilobytes(tmp_path, 10_000) < 1.1 * peak_kilobytes(tmp_path, 100)


def test_the_results_of_a_run_may_all_be_kept() -> None:
    kept: list[Result] = list(Pipeline(out=TRACE(TEXT)).map(map(str, range(200)), chunk=3))
    values: list[Any] = [result["out"].text for result in kept]
    assert (values, TRACE.alive()) == ([str(i) for i in range(200)], 200)

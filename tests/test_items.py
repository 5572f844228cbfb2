"""Items on their way in: what may be given, how far ahead it is read, what cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Fit,
    Image,
    Input,
    Node,
    Observer,
    Pipeline,
    PipelineError,
    Tags,
    Text,
    batched,
    node,
)
from visionweave.execution.batching import THREADS


@node("items.name")
class Name(Node):
    """The name of a photo, after looking at its pixels."""

    def run(self, image: Image) -> Text:
        return Text(f"{image.origin.photo} {image.pixels.shape}")


@node("items.shape")
class Shape(Node):
    """The size at which a photo is decoded for this node."""

    def __init__(self, short: int | None = None) -> None:
        self.short = short

    def fit(self) -> Fit | None:
        return None if self.short is None else Fit(short=self.short)

    def run(self, image: Image) -> Text:
        return Text(str(image.shrunk(Fit(short=self.short)).shape[:2]))


@node("items.join")
class Join(Node):
    """A text and tags as one text."""

    def run(self, text: Text, tags: Tags, after: Text = Text(".")) -> Text:  # noqa: B008 - frozen
        return Text(f"{text.text} {'+'.join(tags.phrases)}{after.text}")


@node("items.count")
class Count(Node):
    """How many photos there are."""

    def run(self, images: list[Image]) -> Text:
        return Text(str(len(images)))


class Counted:
    """An iterable of texts that knows how many were taken."""

    def __init__(self, count: int) -> None:
        self.count, self.taken = count, 0

    def __iter__(self) -> Iterator[str]:
        for index in range(self.count):
            self.taken += 1
            yield str(index)


class Chunks(Observer):
    def __init__(self) -> None:
        self.names: list[list[str]] = []

    def chunk_started(self, items: Sequence[str]) -> None:
        self.names.append(list(items))


PHOTO, TEXT = Input("photo", Image), Input("text", Text)
NAMES = Pipeline(out=Name()(PHOTO))


def photo(path: Path, size_wh: tuple[int, int] = (8, 6)) -> Path:
    PIL.Image.new("RGB", size_wh, "teal").save(path)
    return path


def outs(results: Iterator[Any]) -> list[str]:
    return [result["out"].text for result in results]


# Reading ahead --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunk", "ahead"),
    [
        pytest.param(1, [1, 2, 3, 4, 5], id="one by one"),
        pytest.param(2, [2, 2, 4, 4, 5], id="a chunk"),
    ],
)
def test_texts_are_read_chunk_by_chunk(chunk: int, ahead: list[int]) -> None:
    source = Counted(5)
    assert [source.taken for _ in Pipeline(out=TEXT).map(source, chunk=chunk)] == ahead


def test_one_chunk_is_read_ahead_and_no_more(tmp_path: Path) -> None:
    path, source = photo(tmp_path / "a.png"), Counted(7)
    taken = [source.taken for _ in NAMES.map((path for _ in source), chunk=2)]
    assert taken == [4, 4, 6, 6, 7, 7, 7]
    assert list(NAMES.map([])) == []


def test_a_long_stream_is_never_read_far_ahead() -> None:
    source = Counted(10_000)
    pixels = np.zeros((1, 1, 3), np.uint8)
    images = (Image.from_array(pixels, photo=name) for name in source)
    results = Pipeline(out=PHOTO).map(images)
    ahead = [source.taken - index for index, _ in enumerate(results)]
    assert len(ahead) == 10_000
    assert max(ahead) == 128


class Signalling(Image):
    """A photo that says when it is decoded, and may wait for something first."""

    __slots__ = ()
    decoded: ClassVar[dict[str, threading.Event]] = {}
    wait_for: ClassVar[dict[str, threading.Event]] = {}

    def decode(self) -> None:
        name = self.origin.photo
        assert name not in self.wait_for or self.wait_for[name].wait(timeout=30)
        super().decode()
        self.decoded.setdefault(name, threading.Event()).set()


def signalling(names: Sequence[str]) -> list[Image]:
    Signalling.decoded.clear()
    Signalling.decoded.update({name: threading.Event() for name in names})
    Signalling.wait_for.clear()
    return [Signalling.from_array(np.zeros((2, 2, 3), np.uint8), photo=name) for name in names]


def test_the_next_chunk_is_decoded_while_this_one_computes() -> None:
    @node("items.waiting")
    class Waiting(Node):
        def run(self, image: Image) -> Text:
            following = chr(ord(image.origin.photo) + 1)
            assert following == "d" or Signalling.decoded[following].wait(timeout=30)
            return Text(image.origin.photo)

    names = ["a", "b", "c"]  # and "c" is of the second chunk
    assert outs(Pipeline(out=Waiting()(PHOTO)).map(signalling(names), chunk=2)) == names


def test_photos_that_are_decoded_ahead_do_not_stand_in_the_way_of_batches() -> None:
    computed = threading.Event()

    @node("items.signalling")
    class Signals(Node):
        async def run(self, image: Image) -> Text:
            return await self.name(image)

        @batched(size=64)
        def name(self, images: list[Image]) -> list[Text]:
            computed.set()
            return [Text(image.origin.photo) for image in images]

    names = [str(index) for index in range(2 * (THREADS + 1))]
    images = signalling(names)
    second = names[THREADS + 1 :]  # more than there are threads
    Signalling.wait_for.update(dict.fromkeys(second, computed))
    assert outs(Pipeline(out=Signals()(PHOTO)).map(images, chunk=THREADS + 1)) == names


def test_a_chunk_ends_at_its_bytes_of_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visionweave.execution.items.CHUNK_BYTES", 400)
    sizes = {"a": (10, 10), "b": (3, 3), "c": (10, 10), "d": (30, 30), "e": (10, 5), "f": (10, 5)}
    for name, size in sizes.items():
        photo(tmp_path / f"{name}.png", size)
    (tmp_path / "g.png").write_bytes(b"no image")
    seen = Chunks()
    images = (Image.open(tmp_path / f"{name}.png", name) for name in "abcdefg")
    results = list(NAMES.map(images, observers=[seen]))
    assert [result.ok for result in results] == [True] * 6 + [False]
    assert seen.names == [["a", "b"], ["c"], ["d"], ["e", "f", "g"]]


# Photos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_an_unreadable_photo_fails_alone_at_the_input(tmp_path: Path, chunk: int) -> None:
    good, bad = photo(tmp_path / "good.png"), tmp_path / "bad.jpg"
    bad.write_bytes(b"<html>")
    pipeline = Pipeline(out=Name()(PHOTO), also=Shape()(PHOTO), photo=PHOTO)
    results = list(pipeline.map([good, bad, tmp_path / "none.jpg", good], chunk=chunk))
    assert [result.ok for result in results] == [True, False, False, True]
    assert results[0]["out"].text == results[3]["out"].text == f"{good} (6, 8, 3)"
    assert [[str(failure) for failure in result.failures] for result in results[1:3]] == [
        [f"input 'photo' failed on {bad}: ImageError: it seems to hold an HTML page"],
        [f"input 'photo' failed on {tmp_path / 'none.jpg'}: ImageError: there is no such file"],
    ]
    assert results[1].missing == dict.fromkeys(["out", "also", "photo"], results[1].failures[0])


@pytest.mark.parametrize("chunk", [1, 64])
def test_of_a_list_of_photos_only_the_unreadable_one_is_missing(tmp_path: Path, chunk: int) -> None:
    views = Input("views", list[Image])
    pipeline = Pipeline(out=Count()(views), names=Name()(views))
    paths = [photo(tmp_path / "a.png"), tmp_path / "none.png", photo(tmp_path / "b.png")]
    result = next(pipeline.map([paths], chunk=chunk))
    assert result["out"].text == "2"
    assert [name.text for name in result["names"]] == [f"{paths[i]} (6, 8, 3)" for i in (0, 2)]
    assert [(f.step, f.object, f.reason) for f in result.failures] == [
        ("views", 1, "there is no such file")
    ]
    assert result.name == str(paths[0])


def test_a_photo_is_decoded_as_small_as_all_its_readers_allow(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", (800, 400))
    small = Pipeline(a=Shape(short=25)(PHOTO), b=Shape(short=45)(PHOTO))
    result = small.run(photo=path)
    assert result["a"].text == result["b"].text == "(100, 200)"
    for pipeline in (
        Pipeline(a=Shape(short=25)(PHOTO), full=Name()(PHOTO)),
        Pipeline(a=Shape(short=25)(PHOTO), photo=PHOTO),
    ):
        assert pipeline.run(photo=path)["a"].text == "(400, 800)"
    views = Pipeline(a=Shape(short=25)(Input("views", list[Image])))
    assert [shape.text for shape in views.run(views=[path])["a"]] == ["(50, 100)"]


# What may be given ----------------------------------------------------------------------------

TAGS = Input("tags", Tags, default=["red", "green"])
JOINED = Pipeline(out=Join()(TEXT, TAGS))


def test_an_item_is_a_dict_of_inputs_or_the_value_of_the_only_one_without_default() -> None:
    items = ["a", Text("b"), {"text": "c", "tags": "x, y"}, {"text": "d", "tags": []}]
    assert outs(JOINED.map(items)) == ["a red+green.", "b red+green.", "c x+y.", "d ."]


def test_an_only_input_is_meant_also_when_it_has_a_default() -> None:
    pipeline = Pipeline(out=Join()("a", TAGS, "!"))
    assert outs(pipeline.map([["x"], {}])) == ["a x!", "a red+green!"]


def test_an_item_is_called_by_its_first_photo_or_its_number(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    unnamed = Image.from_array(np.zeros((2, 2, 3), np.uint8))
    results = Pipeline(out=PHOTO).map([path, unnamed, Image.open(path, "street/a.png")])
    assert [result.name for result in results] == [str(path), "item 1", "street/a.png"]


def test_an_item_is_not_called_by_a_photo_that_all_share(tmp_path: Path) -> None:
    shared, path = photo(tmp_path / "shared.png"), photo(tmp_path / "a.png")
    pipeline = Pipeline(ref=Input("ref", Image, str(shared)), out=PHOTO)
    assert next(pipeline.map([path])).name == str(path)


def test_photos_in_files_are_not_kept_decoded_by_who_gave_them(tmp_path: Path) -> None:
    given = [Image.open(photo(tmp_path / f"{number}.png")) for number in range(3)]
    before = [each.decoded_bytes for each in given]
    assert all(result.ok for result in Pipeline(out=Name()(PHOTO)).map(given))
    assert [each._frame for each in given] == [None] * 3
    assert [each.decoded_bytes for each in given] == before


@pytest.mark.parametrize("chunk", [1, 2, 4, 64])
def test_what_came_before_an_error_of_the_source_is_finished(chunk: int) -> None:
    def source() -> Iterator[str]:
        yield from "abcde"
        raise LookupError("no more letters")

    found: list[str] = []
    with pytest.raises(LookupError, match="no more letters"):
        found.extend(
            str(result["out"].text) for result in Pipeline(out=TEXT).map(source(), chunk=chunk)
        )
    assert "".join(found) == "abcde"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        pytest.param(
            {"text": "a", "tag": ["b"]},
            r"there is no input 'tag'\n  expected: text, tags\n  got:      tag\n"
            r"  fix:      did you mean tags\?",
            id="unknown",
        ),
        pytest.param({"tags": ["b"]}, r"input 'text' is wrong\n.*Text\n  got:      nothing"),
        pytest.param(
            {"text": 3, "tags": 4},
            r"(?s)2 problems\n.*'text' is wrong.*got:      int 3.*'tags' is wrong.*int 4",
            id="several",
        ),
        pytest.param(None, r"input 'text' is wrong\n.*Text\n  got:      None"),
    ],
)
def test_an_item_that_does_not_fit_says_what_was_expected(item: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        next(JOINED.map([item]))


def test_a_single_value_is_not_enough_for_several_inputs() -> None:
    message = (
        r"a single value was given, but the pipeline has several inputs\n  expected: text, photo\n"
        r"  got:      one value\n  fix:      give a dict: \{'text': \.\.\., 'photo': \.\.\.\}"
    )
    with pytest.raises(PipelineError, match=message):
        next(Pipeline(text=TEXT, photo=PHOTO).map(["a"]))


def test_a_picture_in_memory_that_cannot_be_shown_is_a_failed_item() -> None:
    pictures = [PIL.Image.new("F", (4, 4)), PIL.Image.new("RGB", (4, 4))]
    bad, good = Pipeline(out=Name()(Input("photo", Image))).map(pictures)
    assert str(bad.failures[0]).startswith("input 'photo' failed on item 0: ImageError: ")
    assert good.ok


def test_the_reason_why_an_input_does_not_fit_is_told_in_full() -> None:
    pipeline = Pipeline(out=Join()(Text("x"), Input("tags", Tags)))
    with pytest.raises(PipelineError, match=r"got: +Tags\.phrases must hold no blank str; got ''"):
        pipeline.run(tags=[""])


def test_a_chunk_counts_the_pixels_that_are_decoded(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (800, 600)).save(tmp_path / "a.jpg")
    full = Image.open(tmp_path / "a.jpg")
    small = Image.open(tmp_path / "a.jpg", fits=[Fit(long=90)])
    assert (full.decoded_bytes, small.decoded_bytes) == (3 * 800 * 600, 3 * 200 * 150)
    small.decode()
    assert small.decoded_bytes == 3 * 200 * 150

"""Searching an index: exact, in a fixed order, by text, picture or both; and contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from visionweave import Cutout, Embedding, Hits, Image, Origin, Text
from visionweave.errors import ValueTypeError
from visionweave.index import (
    Match,
    PhotoIndex,
    Query,
    Space,
    as_hits,
    contact_sheet,
    query_words,
    writer,
)
from visionweave.index.writer import IndexWriter

SPACE = Space("random", {}, "test.embed", 1)


def unit(vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = np.asarray(vectors, np.float32)
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def embedding(*numbers: float, space: str = "s") -> Embedding:
    return Embedding.normalised(numbers, space)


def write(folder: Path, vectors: npt.NDArray[np.float32], names: list[str]) -> PhotoIndex:
    """An index of photos that are not there."""
    folder.mkdir()
    made = IndexWriter(folder, SPACE, None)
    for number, (vector, name) in enumerate(zip(vectors, names, strict=True)):
        made.add(f"{number:064x}", Embedding(vector, "s"))
        made.place(f"/photos/{name}", number, number, f"{number:064x}")
    made.commit(Path("/photos"))
    return PhotoIndex.open(folder)


@pytest.fixture
def vectors() -> npt.NDArray[np.float32]:
    return unit(np.random.default_rng(0).standard_normal((300, 16)))


@pytest.fixture
def index(
    tmp_path: Path, vectors: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> PhotoIndex:
    """300 photos in files of at most 77 rows, whose names are not in the order of the rows."""
    monkeypatch.setattr(writer, "PART_ROWS", 77)
    return write(tmp_path / "index", vectors, [f"{n * 7 % 300:03}.jpg" for n in range(300)])


@pytest.mark.parametrize("k", [1, 20, 299, 300, 1000])
def test_search_finds_what_comparing_one_by_one_finds(
    index: PhotoIndex, vectors: npt.NDArray[np.float32], k: int
) -> None:
    queries = [Query(vector, "s") for vector in unit(vectors[:5] + 0.3)]
    for query, found in zip(queries, index.search(queries, k), strict=True):
        scores = vectors.astype(np.float64) @ query.direction
        nearest = np.argsort(-scores)[:k]
        assert [match.photo for match in found] == [f"{n * 7 % 300:03}.jpg" for n in nearest]
        assert [match.score for match in found] == pytest.approx(scores[nearest], abs=1e-6)
        assert found[0].path == Path("/photos") / found[0].photo


def test_no_query_finds_nothing(index: PhotoIndex) -> None:
    assert index.search([], 3) == []


def test_of_equal_photos_the_first_by_name_comes_first(tmp_path: Path) -> None:
    index = write(tmp_path / "index", unit(np.ones((6, 3))), list("fbdace"))
    (found,) = index.search([Query(unit([1, 1, 1]), "s")], 4)
    assert [match.photo for match in found] == ["a", "b", "c", "d"]


def test_a_copy_of_a_photo_scores_one_at_most(index: PhotoIndex) -> None:
    hits = index.hits(Query(np.full(16, 10, np.float32), "s"), 3, "everything")
    assert (hits.scores.max(), hits.query) == (1, "everything")


def test_both_a_text_and_a_picture_count_by_the_weight() -> None:
    text, image = embedding(1, 0, 0), embedding(0, 1, 0)
    assert Query.of(text, None, 0.1).direction.tolist() == [1, 0, 0]
    assert Query.of(None, image, 0.1).direction.tolist() == [0, 1, 0]
    assert Query.of(text, image, 0.25).direction.tolist() == [0.25, 0.75, 0]
    assert Query.of(text, image, 1).direction.tolist() == [1, 0, 0]


def test_the_score_for_both_is_the_mean_of_two_cosines(index: PhotoIndex) -> None:
    text, image = (Embedding.normalised(np.eye(16)[n] + 0.2, "s") for n in (0, 1))
    found = [
        {match.photo: match.score for match in index.search([query], 300)[0]}
        for query in (Query.of(text, None), Query.of(None, image), Query.of(text, image, 0.3))
    ]
    for photo, score in found[2].items():
        assert score == pytest.approx(0.3 * found[0][photo] + 0.7 * found[1][photo], abs=1e-6)


def test_a_query_needs_something_to_look_for() -> None:
    with pytest.raises(ValueTypeError, match="give a text, an image, or both"):
        Query.of(None, None)


def test_a_text_and_a_picture_must_be_of_one_space() -> None:
    with pytest.raises(ValueTypeError, match="embeddings of two spaces: 's' and 't'"):
        Query.of(embedding(1, 0), embedding(1, 0, space="t"))


def test_a_query_in_words() -> None:
    named = Image.from_array(np.zeros((2, 2, 3), np.uint8), "a.jpg")
    pixels = np.zeros((2, 2, 4), np.uint8)
    mug = Cutout(pixels, (0, 0, 2, 2), Origin("b.jpg", object=1, label="mug"))
    assert query_words(Text("a dog"), None) == "a dog"
    assert query_words(None, named) == "like a.jpg"
    assert query_words(Text("a dog"), mug) == "a dog, like mug, object 1 of b.jpg"
    assert query_words(None, Image.from_array(named.pixels)) == "like a picture"


def test_what_is_found_is_a_value() -> None:
    found = [Match("a.jpg", Path("/x/a.jpg"), 0.5), Match("b.jpg", Path("/x/b.jpg"), 0.25)]
    assert as_hits(found, "dog") == Hits(("a.jpg", "b.jpg"), [0.5, 0.25], "dog")
    assert as_hits([]) == Hits((), [])


# Contact sheets ---------------------------------------------------------------------------------


def cells(sheet: PIL.Image.Image, count: int) -> list[tuple[int, int, int]]:
    """The colour inside each square, away from what may be written in its middle."""
    places = [(8 + n % 5 * 248 + 120, 8 + n // 5 * 276 + 60) for n in range(count)]
    return [sheet.getpixel(place) for place in places]  # type: ignore[misc]


def test_a_contact_sheet_shows_photos_by_rank(tmp_path: Path) -> None:
    found = []
    for rank in range(7):
        path = tmp_path / f"{rank}.png"
        PIL.Image.new("RGB", (600, 300), (rank * 30, 0, 200)).save(path)
        found.append(Match(path.name, path, 0.9 - rank / 10))
    sheet = contact_sheet(found)
    assert sheet.size == (5 * 248 + 8, 2 * 276 + 8)
    assert cells(sheet, 8) == [*((rank * 30, 0, 200) for rank in range(7)), (255, 255, 255)]
    assert sheet.getpixel((128, 8 + 10)) == (255, 255, 255)  # a wide photo keeps its shape
    below = np.asarray(sheet)[8 + 240 : 8 + 268, 8:248]
    assert below.min() < 64  # rank and score
    assert not np.array_equal(below, np.asarray(sheet)[248:276, 256:496])


def test_a_tall_and_a_tiny_photo_are_drawn_whole(tmp_path: Path) -> None:
    for name, size in (("tall", (1, 900)), ("tiny", (2, 2))):
        PIL.Image.new("RGB", size, (0, 90, 0)).save(tmp_path / f"{name}.png")
    found = [Match(name, tmp_path / f"{name}.png", 0) for name in ("tall", "tiny")]
    pixels = np.asarray(contact_sheet(found))[8:248]
    green = (pixels == (0, 90, 0)).all(axis=2)
    assert green[:, :256].sum() == 240
    assert green[:, 256:].sum() == 4


def test_photos_that_are_gone_or_bad_leave_a_square_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    found = [Match(name, tmp_path / name, 0) for name in ("gone.jpg", "bad.jpg")]
    sheet = contact_sheet(found)
    assert cells(sheet, 2) == [(224, 224, 224)] * 2
    gone, bad = (np.asarray(sheet)[8:248, x : x + 240] for x in (8, 256))
    assert gone.min() < 64
    assert not np.array_equal(gone, bad)


def test_a_contact_sheet_of_nothing_says_so() -> None:
    assert np.asarray(contact_sheet([])).min() < 64

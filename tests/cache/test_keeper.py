"""The cache at work: what runs again after a change, down to the object, and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Boxes,
    Cutout,
    Image,
    Input,
    Mesh,
    ModelNode,
    Node,
    Observer,
    Origin,
    Pipeline,
    Runtime,
    Text,
    batched,
    node,
)
from visionweave.cache import Cache
from visionweave.execution.plan import PlannedStep
from visionweave.testing import make_mesh


class Counting(ModelNode):
    """A model that needs no torch, and notes what goes through it."""

    seen: ClassVar[list[str]] = []

    def load(self, runtime: Runtime) -> None:
        self.seen.append("load")

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    @batched(size=4)
    def forward(self, payloads: list[Any]) -> list[Any]:
        self.seen.extend(f"{self.spec.id.partition('.')[2]} {each}" for each in payloads)
        return payloads


@node("keeper.detect")
class Detect(Counting):
    """A box for every column that is not black."""

    def __init__(self, above: int = 0) -> None:
        self.above = above

    async def run(self, image: Image) -> Boxes:
        brightness = await self.forward(image.pixels[0, :, 0].tolist())
        columns = [x for x, value in enumerate(brightness) if value > self.above]
        xyxy = np.array([[x, 0, x + 1, 4] for x in columns], np.float32).reshape(-1, 4)
        return Boxes(xyxy, image.image_hw, photo=image.origin.photo)


@node("keeper.cut")
class Cut(Node):
    """The column in each box."""

    def run(self, image: Image, boxes: Boxes) -> list[Cutout]:
        cutouts = []
        for index, (x, *_) in enumerate(boxes.xyxy.astype(int)):
            pixels = np.dstack([image.pixels[:, x : x + 1], np.full((4, 1, 1), 255, np.uint8)])
            cutouts.append(Cutout(pixels, tuple(boxes.xyxy[index]), boxes.origin(index)))
        return cutouts


@node("keeper.mesh")
class Build(Counting):
    """A mesh of a cutout; none of a value of 66."""

    async def run(self, cutout: Cutout) -> Mesh:
        value = await self.forward(int(cutout.rgba[0, 0, 0]))
        if value == 66:
            raise ValueError("66 cannot be built")
        return make_mesh(cutout.origin)


class Named(NamedTuple):
    text: Text
    parts: list[Text]


@node("keeper.name")
class Name(Counting):
    """Two outputs: a text, and its letters."""

    async def run(self, mesh: Mesh) -> Named:
        text = await self.forward(f"{mesh.origin.box}")
        return Named(Text(text, mesh.origin), [Text(letter, mesh.origin) for letter in text[:2]])


def pipeline(above: int = 0) -> Pipeline:
    photo = Input("photo", Image)
    boxes = Detect(above)(photo)
    meshes = Build()(Cut()(photo, boxes))
    named = Name()(meshes)
    return Pipeline(boxes=boxes, meshes=meshes, text=named.text, parts=named.parts)


def save(path: Path, columns: list[int]) -> Path:
    pixels = np.zeros((4, len(columns), 3), np.uint8)
    pixels[:] = np.array(columns, np.uint8)[None, :, None]
    PIL.Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "a.png", [10, 0, 20, 0, 30])


class Found(Observer):
    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    def results_found(self, step: PlannedStep, calls: int) -> None:
        self.found[step.name] = self.found.get(step.name, 0) + calls


def run(
    cache: Cache, photos: list[Path], pipe: Pipeline | None = None, **options: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """The outputs for each photo, and what went through models."""
    Counting.seen.clear()
    results = (pipe or pipeline()).map(
        photos, cache=cache, device="cpu", precision="fp32", **options
    )
    outputs = [result.outputs for result in results]
    return outputs, [each for each in Counting.seen if each != "load"]


def test_what_ran_before_does_not_run_again_and_gives_the_same(cache: Cache, photo: Path) -> None:
    first, seen = run(cache, [photo])
    assert seen[:4] == ["detect [10, 0, 20, 0, 30]", "mesh 10", "mesh 20", "mesh 30"]
    assert len(seen) == 7
    again, seen = run(cache, [photo])
    assert (again, seen) == (first, [])
    assert Counting.seen == [], "no model was loaded either"


def test_results_are_the_same_with_and_without_a_cache(cache: Cache, photo: Path) -> None:
    with_cache = [run(cache, [photo, photo], chunk=chunk)[0] for chunk in (1, 64)]
    without = list(pipeline().map([photo, photo], device="cpu", precision="fp32"))
    assert with_cache == [[result.outputs for result in without]] * 2


def test_a_changed_setting_runs_again_what_depends_on_it_down_to_the_object(
    cache: Cache, photo: Path
) -> None:
    run(cache, [photo])
    outputs, seen = run(cache, [photo], pipeline(above=15))
    assert seen == ["detect [10, 0, 20, 0, 30]"]
    meshes = outputs[0]["meshes"]
    assert [mesh.origin.object for mesh in meshes] == [0, 1], "the second and third of before"
    assert [mesh.origin.box[0] for mesh in meshes] == [2, 4]


def test_a_changed_photo_runs_again_only_what_is_new_in_it(cache: Cache, photo: Path) -> None:
    run(cache, [photo])
    save(photo, [10, 0, 20, 0, 31])
    _, seen = run(cache, [photo])
    assert [each for each in seen if "name" not in each] == ["detect [10, 0, 20, 0, 31]", "mesh 31"]


def test_a_renamed_photo_costs_nothing_and_its_results_bear_its_new_name(
    cache: Cache, photo: Path, tmp_path: Path
) -> None:
    run(cache, [photo])
    renamed = photo.rename(tmp_path / "b.png")
    outputs, seen = run(cache, [renamed])
    assert seen == []
    assert outputs[0]["boxes"].photo == str(renamed)
    assert [mesh.origin.photo for mesh in outputs[0]["meshes"]] == [str(renamed)] * 3
    assert outputs == [result.outputs for result in pipeline().map([renamed], device="cpu")]


def test_a_photo_is_not_decoded_when_its_models_results_are_known(
    cache: Cache, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Pipeline(boxes=Detect()(Input("photo", Image)))
    first, _ = run(cache, [photo], small)
    monkeypatch.setattr("visionweave.photo.decode", lambda *given: pytest.fail("decoded"))
    for chunk in (1, 64):
        assert run(cache, [photo], small, chunk=chunk) == (first, [])


def test_observers_hear_of_what_was_found(cache: Cache, photo: Path, tmp_path: Path) -> None:
    run(cache, [photo])
    found = Found()
    other = save(tmp_path / "b.png", [30, 40])
    run(cache, [photo, other], observers=[found])
    assert found.found == {"boxes": 1, "meshes": 3, "text": 4}, "one mesh is as another was"


def test_failures_are_not_kept(cache: Cache, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", [10, 66])
    for _ in range(2):
        Counting.seen.clear()
        (result,) = pipeline().map([photo], cache=cache, device="cpu")
        assert [failure.reason for failure in result.failures] == ["66 cannot be built"]
        assert [mesh.origin.object for mesh in result["meshes"]] == [0]
    assert Counting.seen == ["load", "mesh 66"]


def test_an_unreadable_photo_fails_alone(cache: Cache, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    gone = tmp_path / "gone.png"
    results = list(pipeline().map([photo, tmp_path / "bad.png", gone], cache=cache, device="cpu"))
    reasons = [[failure.reason for failure in result.failures] for result in results]
    assert reasons == [[], ["it seems to hold plain text"], ["there is no such file"]]


def test_in_memory_images_are_known_by_their_pixels(cache: Cache) -> None:
    pixels = np.full((4, 2, 3), 7, np.uint8)
    _first, seen = run(cache, [Image.from_array(pixels, "a")])  # type: ignore[list-item]
    assert len(seen) == 5
    _, seen = run(cache, [Image.from_array(pixels.copy(), "b")])  # type: ignore[list-item]
    assert seen == []


# What is lost ---------------------------------------------------------------------------------


def lose(cache: Cache, how: str) -> None:
    base = cache.results._base
    if how == "damaged":
        base.do(lambda b: b.execute("UPDATE results SET data = zeroblob(length(data))"))
    elif how == "gone while the run goes on":
        read = cache.results.read
        cache.results.read = lambda key: (cache.results.drop(key), read(key))[1]  # type: ignore[method-assign]
    else:
        cache.results.clear()


@pytest.mark.parametrize("how", ["damaged", "gone while the run goes on", "cleared"])
def test_what_is_lost_is_computed_again_and_kept(
    cache: Cache, photo: Path, tmp_path: Path, how: str
) -> None:
    first, _ = run(cache, [photo])
    lose(cache, how)
    again, seen = run(cache, [photo])
    assert again == first
    assert sorted(each.partition(" ")[0] for each in seen) == [
        "detect", "mesh", "mesh", "mesh", "name", "name", "name",
    ]  # fmt: skip
    with Cache(tmp_path / "cache") as fresh:
        assert run(fresh, [photo]) == (first, [])


def test_a_lost_result_that_cannot_be_computed_again_is_a_failure(
    cache: Cache, photo: Path, tmp_path: Path
) -> None:
    class Delete(Observer):
        """Deletes the photo once a result of it was found."""

        def results_found(self, step: PlannedStep, calls: int) -> None:
            photo.unlink(missing_ok=True)

    run(cache, [photo])
    lose(cache, "damaged")
    (result,) = pipeline().map([photo], cache=cache, device="cpu", observers=[Delete()])
    (failure,) = result.failures
    assert (failure.step, failure.error) == ("boxes", "ImageError")
    assert "was changed, moved or deleted while the job ran" in failure.reason
    assert result.outputs == {}


# Keys -----------------------------------------------------------------------------------------


@node("keeper.detect", version=2)
class DetectAnew(Detect):
    """The same, in another version."""


@pytest.mark.parametrize(
    ("make", "options"),
    [
        pytest.param(Detect, {"precision": "bf16"}, id="precision"),
        pytest.param(DetectAnew, {}, id="version of the node"),
    ],
)
def test_what_else_a_result_depends_on(
    cache: Cache, photo: Path, make: type[Detect], options: dict[str, str]
) -> None:
    how = {"device": "cpu", "precision": "fp32"}
    for node_class, more in ((Detect, {}), (make, options)):
        Counting.seen.clear()
        pipe = Pipeline(boxes=node_class()(Input("photo", Image)))
        list(pipe.map([photo], cache=cache, **(how | more)))  # type: ignore[arg-type]
        assert "detect [10, 0, 20, 0, 30]" in Counting.seen


def test_who_shares_a_photo_with_whom_counts(cache: Cache) -> None:
    @node("keeper.pair")
    class Pair(Counting):
        """The first of two, with its origin."""

        async def run(self, one: Text, two: Text) -> Text:
            await self.forward(one.text)
            return Text(one.text, two.origin)

    pipe = Pipeline(out=Pair()(Input("one", Text), Input("two", Text)))
    items = [
        {"one": Text("x", Origin(one)), "two": Text("y", Origin(two))}
        for one, two in (("a", "b"), ("c", "d"), ("a", "a"))
    ]
    Counting.seen.clear()
    results = list(pipe.map(items, cache=cache, device="cpu", chunk=1))
    assert [result["out"].origin.photo for result in results] == ["b", "d", "a"]
    assert Counting.seen.count("pair x") == 2, "the second is as the first"


def test_a_file_that_a_node_reads_counts(cache: Cache, photo: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"

    @node("keeper.read")
    class Read(Counting):
        """What a file says."""

        def __init__(self, path: str) -> None:
            self.path = Path(path)

        def depends_on(self) -> dict[str, str]:
            return {"the words": self.path.read_text()}

        async def run(self, image: Image) -> Text:
            return Text(await self.forward(self.path.read_text()), image.origin)

    pipe = Pipeline(out=Read(str(words))(Input("photo", Image)))
    for text, passes in (("one", ["read one"]), ("one", []), ("two", ["read two"])):
        words.write_text(text)
        outputs, seen = run(cache, [photo], pipe)
        assert (outputs[0]["out"].text, seen) == (text, passes)

"""overlay.jpg: what is drawn, for whom, and how it stays in step with the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave import Boxes, Cutout, Image, Input, Masks, Node, Observer, Pipeline, Text, node
from visionweave.cli import main
from visionweave.execution.executor import Result
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.overlay import Overlay, make_overlay
from visionweave.jobs.photos import find_photos
from visionweave.nodes.image import Blur, CutOut, Draw, Resize
from visionweave.testing import make_boxes, make_masks
from visionweave.values.small import small_objects, small_photo

GREY = 128
ORANGE = (230, 159, 0)
"""What image.draw paints object 0 in."""


@node("overlay.find")
class Find(Node):
    """Boxes in a photo."""

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def run(self, image: Image) -> Boxes:
        return make_boxes(self.count, image.image_hw, photo=image.origin.photo)


@node("overlay.fill")
class Fill(Node):
    """The ellipses in boxes."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def run(self, boxes: Boxes) -> Masks:
        if self.fails:
            raise ValueError("no masks today")
        return make_masks(boxes)


@node("overlay.describe")
class Describe(Node):
    """A text about a cutout."""

    def run(self, cutout: Cutout) -> Text:
        return Text("a thing", cutout.origin)


PHOTO = Input("photo", Image)


def pipeline(count: int = 1, fails: bool = False) -> Pipeline:
    boxes = Find(count)(PHOTO)
    return Pipeline(boxes=boxes, masks=Fill(fails)(boxes))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b/c.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (320, 240), (GREY,) * 3).save(path)
    return tmp_path / "photos"


def run(photos: Path, pipe: Pipeline | None = None, **options: Any) -> Summary:
    observers = options.pop("observers", [])
    found, out = find_photos([str(photos)]), photos.parent / "out"
    return run_job(
        Job("o", pipe or pipeline(), found, out, photo_input="photo", **options), observers
    )


def overlay(photos: Path, name: str = "a") -> Image:
    return Image.open(photos.parent / "out" / name / "overlay.jpg")


def lines(photos: Path, name: str = "items") -> list[dict[str, Any]]:
    text = (photos.parent / f"out/{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def files(photos: Path) -> dict[str, bytes]:
    out = photos.parent / "out"
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.jpg"))}


# What is drawn --------------------------------------------------------------------------------


def test_masks_boxes_and_names_are_drawn_into_the_photo(photos: Path) -> None:
    run(photos)
    pixels = overlay(photos).pixels.astype(int)
    middle, corner, outside = pixels[120, 160], pixels[55, 70], pixels[230, 10]
    tint = 0.6 * GREY + 0.4 * np.array(ORANGE)
    assert np.abs(middle - tint).max() < 12  # in the mask
    assert np.abs(corner - GREY).max() < 12  # in the box, beside the ellipse
    assert np.abs(outside - GREY).max() < 12
    line = pixels[120, 55:66]  # across the left side of the box, at x = 64
    assert np.abs(line - ORANGE).sum(axis=1).min() < 60
    name = pixels[30:48, 64:140]  # the chip above the box: black letters on the object's colour
    assert name.min() < 40
    assert (np.abs(name - ORANGE).sum(axis=2) < 60).sum() > 200


def test_where_masks_failed_boxes_are_drawn(photos: Path) -> None:
    run(photos, pipeline(fails=True))
    pixels = overlay(photos).pixels.astype(int)
    assert np.abs(pixels[120, 160] - GREY).max() < 12
    assert np.abs(pixels[120, 55:66] - ORANGE).sum(axis=1).min() < 60


def test_a_photo_in_which_nothing_was_found_has_an_overlay_too(photos: Path) -> None:
    run(photos, pipeline(count=0))
    assert np.abs(overlay(photos).pixels.astype(int) - GREY).max() < 4


def test_a_photo_that_lies_on_its_side_is_drawn_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    stored = np.full((40, 60, 3), GREY, np.uint8)
    stored[:, :20] = 0  # at the top, once it is upright
    photo = tmp_path / "photos/a.jpg"
    photo.parent.mkdir()
    PIL.Image.fromarray(stored).save(photo, exif=exif, quality=95)
    run(photo.parent, pipeline(count=0))
    drawn = overlay(photo.parent)
    assert drawn.size_wh == (40, 60)
    assert (drawn.pixels[10, 20].max() < 10, drawn.pixels[50, 20].min() > 100) == (True, True)


def test_a_large_photo_is_drawn_small_and_its_objects_lie_where_they_are(tmp_path: Path) -> None:
    pixels = np.full((2000, 4000, 3), 30, np.uint8)
    pixels[400:1600, 800:3200] = 220  # where make_boxes puts its only box
    photo = tmp_path / "photos/a.png"
    photo.parent.mkdir()
    PIL.Image.fromarray(pixels).save(photo, compress_level=1)
    run(photo.parent, Pipeline(boxes=Find()(PHOTO)))
    drawn = overlay(photo.parent)
    assert drawn.size_wh == (1600, 800)
    rows = np.abs(drawn.pixels[:, 800].astype(int) - ORANGE).sum(axis=1) < 90
    assert np.flatnonzero(rows)[[0, -1]].tolist() == pytest.approx([157, 643], abs=5)


def test_what_was_found_in_a_smaller_copy_is_drawn_at_its_place(photos: Path) -> None:
    small = Resize(longest=80)(PHOTO)
    run(photos, Pipeline(boxes=Find()(small)))
    pixels = overlay(photos).pixels.astype(int)
    assert pixels.shape == (240, 320, 3)
    assert np.abs(pixels[120, 55:66] - ORANGE).sum(axis=1).min() < 60


def test_small_objects_keep_everything_but_their_size() -> None:
    masks = make_masks(make_boxes(3, (60, 90)))
    small = small_objects(masks, (20, 30))
    assert small.boxes == make_boxes(3, (60, 90)).replace(
        xyxy=masks.boxes.xyxy / np.float32(3), image_hw=(20, 30)
    )
    assert np.array_equal(small.array(), masks.array()[:, 1::3, 1::3])
    assert small_objects(masks, (60, 90)) == masks
    assert len(small_objects(Masks.empty((60, 90)), (2, 3))) == 0


def test_a_photo_that_is_small_is_not_enlarged() -> None:
    photo = Image.from_array(np.zeros((4, 6, 3), np.uint8))
    assert small_photo(photo, 100).size == (6, 4)
    assert small_photo(photo, 3).size == (3, 2)


# For whom -------------------------------------------------------------------------------------

BOXES = Find()(PHOTO)
MASKS = Fill()(BOXES)
CUTOUTS = CutOut()(PHOTO, MASKS)


@pytest.mark.parametrize(
    ("outputs", "wanted", "drawn"),
    [
        pytest.param({"boxes": BOXES, "masks": MASKS}, None, ("masks", "boxes"), id="masks first"),
        pytest.param({"one": BOXES, "two": Find(2)(PHOTO)}, None, ("two", "one"), id="last first"),
        pytest.param({"photo": PHOTO, "boxes": BOXES}, None, ("boxes",), id="a photo as it is"),
        pytest.param({"cutouts": CUTOUTS}, None, None, id="no objects"),
        pytest.param({"boxes": BOXES}, False, None, id="not wanted"),
        pytest.param(
            {"masks": MASKS, "overlay": Draw()(PHOTO, masks=MASKS)}, None, None, id="draws itself"
        ),
        pytest.param(
            {"masks": MASKS, "redacted": Blur()(PHOTO, masks=MASKS)}, None, None, id="hides"
        ),
        pytest.param(
            {"masks": MASKS, "redacted": Blur()(PHOTO, masks=MASKS)}, True, ("masks",), id="wanted"
        ),
        pytest.param({"cutouts": CUTOUTS}, True, None, id="wanted, but no objects"),
    ],
)  # fmt: skip
def test_overlays_are_drawn_where_they_help(
    outputs: dict[str, Any], wanted: bool | None, drawn: tuple[str, ...] | None
) -> None:
    expected = None if drawn is None else Overlay(drawn)
    assert make_overlay(Pipeline(**outputs), wanted) == expected


def test_what_was_found_in_a_crop_is_not_drawn() -> None:
    photo = Image.from_array(np.zeros((60, 90, 3), np.uint8))
    assert Overlay(("boxes",)).draw(photo, {"boxes": make_boxes(1, (60, 60))}) is None


def test_the_command_line_switches_them(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    (photos.parent / "cut.yaml").write_text(
        "visionweave: 1\ninputs: {photo: Image}\n"
        "steps: {masks: {node: image.alpha_masks, image: $photo}}\noutputs: [masks]\n"
    )
    assert main(["run", "cut.yaml", "photos", "--no-overlay"]) == 0
    assert files(photos) == {}
    assert main(["run", "--locked", "out/run.json", "-o", "again"]) == 0
    assert not list(Path("again").rglob("*.jpg"))
    assert main(["run", "cut.yaml", "photos"]) == 0
    assert files(photos).keys() == {"a/overlay.jpg", "b/c/overlay.jpg"}


# In step with the results ---------------------------------------------------------------------


def test_the_same_job_makes_the_same_bytes_and_none_twice(photos: Path) -> None:
    run(photos)
    first = files(photos)
    assert first.keys() == {"a/overlay.jpg", "b/c/overlay.jpg"}
    assert run(photos).before == 2
    assert (files(photos), run(photos, overwrite=True).before, files(photos)) == (first, 0, first)


@pytest.mark.parametrize("harm", ["deleted", "shortened"])
def test_an_overlay_that_is_not_as_it_was_is_drawn_again(photos: Path, harm: str) -> None:
    run(photos)
    first = files(photos)
    path = photos.parent / "out/b/c/overlay.jpg"
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    assert run(photos).before == 1
    assert files(photos) == first


def test_switched_on_later_they_are_drawn_and_switched_off_they_stay(photos: Path) -> None:
    run(photos, overlay=False)
    assert [line["overlay"] for line in lines(photos)] == [None, None]
    assert (run(photos).before, len(files(photos))) == (0, 2)
    assert (run(photos, overlay=False).before, len(files(photos))) == (2, 2)


def test_a_photo_without_anything_to_draw_is_passed_over_too(photos: Path) -> None:
    @node("overlay.elsewhere")
    class Elsewhere(Node):
        """Boxes in some other picture."""

        def run(self, image: Image) -> Boxes:
            return make_boxes(2, (10, 10))

    pipe = Pipeline(boxes=Elsewhere()(PHOTO))
    run(photos, pipe)
    assert [line["overlay"] for line in lines(photos)] == ["", ""]
    assert (run(photos, pipe).before, files(photos)) == (2, {})


def test_the_overlay_of_a_photo_that_is_gone_is_removed_with_its_results(photos: Path) -> None:
    run(photos)
    (photos / "a.jpg").unlink()
    run(photos, prune=True)
    assert files(photos).keys() == {"b/c/overlay.jpg"}


class _Change(Observer):
    """Changes a photo once its results are there, before they are drawn."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def item_finished(self, result: Result) -> None:
        if result.name == self.path.name:
            PIL.Image.new("RGB", (64, 48), "red").save(self.path)


def test_a_photo_that_changes_before_it_is_drawn_keeps_its_results_and_is_run_again(
    photos: Path,
) -> None:
    summary = run(photos, observers=[_Change(photos / "a.jpg")])
    assert (summary.counts, summary.failures) == ({"partial": 1, "ok": 1}, 1)
    assert files(photos).keys() == {"b/c/overlay.jpg"}
    (failure,) = lines(photos, "failures")
    assert (failure["step"], failure["error"]) == ("overlay.jpg", "ImageError")
    assert failure["message"].endswith("the file was changed, moved or deleted while the job ran")
    traceback = photos.parent / "out" / failure["traceback"]
    assert failure["message"] in traceback.read_text()
    assert Boxes.load(photos.parent / "out/a/boxes.json").image_hw == (240, 320)
    summary = run(photos)
    assert (summary.counts, summary.before) == ({"ok": 2}, 1)
    assert overlay(photos).size_wh == (64, 48)
    assert not traceback.exists()

"""Indexes of photos: what is embedded and what is not, what is kept, dropped and refused."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Embedding,
    Image,
    Input,
    ModelNode,
    Observer,
    Pipeline,
    Result,
    Runtime,
    WeightsError,
    batched,
    node,
)
from visionweave.errors import JobError, ValueTypeError
from visionweave.index import (
    IndexJob,
    IndexSummary,
    PhotoIndex,
    Query,
    Space,
    build,
    build_index,
    writer,
)
from visionweave.jobs.photos import Photo, find_photos

SPACE = Space("colours", {"model.safetensors": "0" * 64}, "indextest.embed", 1)


@node("indextest.embed")
class MeanColour(ModelNode):
    """Embeds a photo as its mean colour, and keeps the photos' names."""

    seen: list[str]

    def load(self, runtime: Runtime) -> None:
        self.seen = []

    async def run(self, photo: Image) -> Embedding:
        vector = await self.encode(photo.pixels)
        self.seen.append(photo.origin.photo)
        return Embedding.normalised(vector, "mean colour", photo.origin)

    @batched(size=4)
    def encode(self, pixels: list[np.ndarray]) -> list[np.ndarray]:
        return [each.reshape(-1, 3).mean(axis=0) + 1 for each in pixels]


class Library:
    """A folder of photos, its index, and the runs over it."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.out = folder / "photos", folder / "library.vwindex"

    def paint(self, name: str, *colour: int) -> Path:
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (8, 8), colour).save(path, "PNG")
        return path

    def job(self, *given: Path, **options: Any) -> IndexJob:
        self.model = MeanColour()
        pipeline = Pipeline(embedding=self.model(Input("photo", Image)))
        photos = find_photos([str(path) for path in given or [self.photos]])
        return IndexJob(pipeline, SPACE, photos, self.out, device="cpu", **options)

    def run(
        self, *given: Path, observers: Sequence[Observer] = (), **options: Any
    ) -> tuple[list[str], IndexSummary]:
        """Index, and return the names of the photos that were embedded, and what came of it."""
        job = self.job(*given, **options)
        self.model.seen = []
        summary = build_index(job, observers)
        return sorted(self.model.seen), summary

    def names(self, *colour: int, k: int = 10) -> list[str]:
        """The names of the photos in the index, those nearest to a colour first."""
        (found,) = PhotoIndex.open(self.out).search([near(*colour)], k)
        return [match.photo for match in found]

    def vectors(self) -> dict[str, list[float]]:
        """The embedding of each photo in the index."""
        index = PhotoIndex.open(self.out)
        rows = np.concatenate([part.vectors for part in index.parts])
        return {path: rows[entry.row].tolist() for path, entry in index.entries()}


def near(*colour: int) -> Query:
    vector = np.array(colour or (1, 1, 1), float) + 1
    return Query.of(None, Embedding.normalised(vector, "mean colour"))


def counted(**counts: int) -> dict[str, int]:
    return {"new": 0, "changed": 0, "moved": 0, "gone": 0, "same": 0} | counts


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Three photos in two folders, not yet indexed."""
    found = Library(tmp_path)
    found.paint("yard/red.png", *RED)
    found.paint("yard/green.png", *GREEN)
    found.paint("street/blue.png", *BLUE)
    return found


ALL = ["street/blue.png", "yard/green.png", "yard/red.png"]


# What is embedded -----------------------------------------------------------------------------


def test_a_new_index_has_every_photo(library: Library) -> None:
    embedded, summary = library.run()
    assert embedded == ALL
    assert (summary.counts, summary.photos, summary.exit_code) == (counted(new=3), 3, 0)
    assert library.names(250, 30, 0) == ["yard/red.png", "yard/green.png", "street/blue.png"]
    vector = np.array([256, 1, 1]) / np.linalg.norm([256, 1, 1])
    assert library.vectors()[str(library.photos / "yard/red.png")] == pytest.approx(vector)


def test_nothing_is_embedded_twice(library: Library) -> None:
    library.run()
    before, manifest = library.vectors(), (library.out / "index.json").read_bytes()
    embedded, summary = library.run(save_seconds=0)
    assert (embedded, summary.counts) == ([], counted(same=3))
    assert library.vectors() == before
    assert (library.out / "index.json").read_bytes() == manifest  # which `clip.search` goes by


def test_new_changed_and_deleted_photos_are_noticed(library: Library) -> None:
    library.run()
    library.paint("yard/white.png", 255, 255, 255)
    library.paint("yard/red.png", 9, 9, 9)
    (library.photos / "street/blue.png").unlink()
    embedded, summary = library.run()
    assert embedded == ["yard/red.png", "yard/white.png"]
    assert summary.counts == counted(new=1, changed=1, gone=1, same=1)
    assert sorted(library.names()) == ["yard/green.png", "yard/red.png", "yard/white.png"]
    assert library.vectors()[str(library.photos / "yard/red.png")] == pytest.approx([3**-0.5] * 3)


def test_a_change_that_keeps_the_size_is_noticed_by_its_time(library: Library) -> None:
    library.run()
    path = library.photos / "yard/red.png"
    path.write_bytes((library.photos / "yard/green.png").read_bytes())
    os.utime(path, ns=(0, 12345))
    embedded, summary = library.run()
    assert (embedded, summary.counts) == ([], counted(changed=1, same=2))
    vectors = library.vectors()
    assert vectors[str(path)] == vectors[str(library.photos / "yard/green.png")]


def test_a_change_that_keeps_size_and_time_is_noticed(library: Library) -> None:
    path, green = library.photos / "yard/red.png", library.photos / "yard/green.png"
    path.write_bytes(path.read_bytes().ljust(99, b"\0"))
    library.run()
    before = path.stat()
    path.write_bytes(green.read_bytes().ljust(99, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    embedded, summary = library.run()
    assert (embedded, summary.counts) == (["yard/red.png"], counted(changed=1, same=2))


def test_an_index_of_before_without_ctimes_is_gone_on_with(library: Library) -> None:
    library.run()
    lines = library.out / "photos-1.jsonl"
    before = re.sub(rb', "ctime_ns": \d+}', lambda m: b"}".ljust(len(m[0])), lines.read_bytes())
    lines.write_bytes(before)
    assert b"ctime_ns" not in before
    embedded, summary = library.run()
    assert (embedded, summary.counts) == ([], counted(same=3))


def test_a_photo_that_was_only_touched_is_not_embedded_again(library: Library) -> None:
    library.run()
    os.utime(library.photos / "yard/red.png", ns=(0, 0))
    assert library.run()[1].counts == counted(same=3)
    manifest = PhotoIndex.open(library.out)
    times = {path: entry.mtime_ns for path, entry in manifest.entries()}
    assert times[str(library.photos / "yard/red.png")] == 0


def test_photos_with_the_same_bytes_are_embedded_once(library: Library) -> None:
    library.paint("a.png", *RED)
    library.paint("z.png", *RED)
    embedded, summary = library.run()
    assert embedded == ["a.png", "street/blue.png", "yard/green.png"]
    assert (summary.counts, summary.photos) == (counted(new=5), 5)
    assert library.names(*RED, k=3) == ["a.png", "yard/red.png", "z.png"]
    library.paint("copy.png", *RED)
    embedded, summary = library.run()
    assert (embedded, summary.counts) == ([], counted(new=1, same=5))


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_renamed_and_moved_photos_are_not_embedded_again(library: Library, chunk: int) -> None:
    library.run(chunk=chunk)
    (library.photos / "yard/red.png").rename(library.photos / "street/apple.png")
    (library.photos / "yard").rename(library.photos / "garden")
    embedded, summary = library.run(chunk=chunk)
    assert (embedded, summary.counts) == ([], counted(moved=2, same=1))
    assert library.names(*RED) == ["street/apple.png", "garden/green.png", "street/blue.png"]


def test_a_library_moved_elsewhere_is_not_embedded_again(library: Library) -> None:
    library.run()
    library.photos.rename(library.photos.with_name("archive"))
    embedded, summary = library.run(library.photos.with_name("archive"))
    assert (embedded, summary.counts) == ([], counted(moved=3))
    assert sorted(library.names()) == ALL


def test_the_observers_hear_of_every_photo_once(library: Library) -> None:
    class Names(Observer):
        def __init__(self) -> None:
            self.names: list[str] = []

        def item_finished(self, result: Result) -> None:
            self.names.append(result.name)

    library.paint("copy.png", *RED)
    (library.photos / "empty.png").touch()
    for _ in range(2):
        watching = Names()
        library.run(observers=[watching])
        assert sorted(watching.names) == ["copy.png", "empty.png", *ALL]


# What is kept -----------------------------------------------------------------------------------


def test_photos_of_other_folders_stay_until_they_are_pruned(library: Library) -> None:
    library.run(library.photos / "yard")
    assert library.names(*RED) == ["red.png", "green.png"]
    _, summary = library.run(library.photos / "street")
    assert summary.counts == counted(new=1, same=2)
    assert sorted(library.names()) == ALL
    _, summary = library.run(library.photos / "street", prune=True)
    assert summary.counts == counted(gone=2, same=1)
    assert library.names() == ["blue.png"]


def test_a_missing_disk_loses_nothing(library: Library) -> None:
    library.run()
    (library.photos / "yard").rename(library.photos.with_name("unplugged"))
    _, summary = library.run(library.photos / "street")
    assert summary.counts == counted(same=3)


def test_photos_in_a_folder_that_cannot_be_looked_into_stay(library: Library) -> None:
    closed = library.photos / "street/yard"
    (library.photos / "yard").rename(closed)
    library.run()
    assert len(library.names()) == 3
    closed.rename(library.photos.with_name("unplugged"))
    closed.symlink_to(closed)  # a loop: an error that tells of no file whether it is there
    _, summary = library.run(library.photos / "street")
    assert summary.counts == counted(same=3)


def test_an_index_inside_the_folder_is_not_in_the_way(library: Library) -> None:
    library.out = library.photos / "library.vwindex"
    library.run()
    assert library.run()[1].counts == counted(same=3)


def test_names_that_are_no_unicode_are_kept(library: Library) -> None:
    strange = os.fsdecode(b"caf\xe9 \xe4\xbd\xa0.png")
    try:
        path = library.paint(strange, 250, 1, 1)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    library.run()
    assert library.run()[1].counts == counted(same=4)
    (found,) = PhotoIndex.open(library.out).search([near(250, 1, 1)], 1)
    assert (found[0].photo, found[0].path) == ("caf\\udce9 你.png", path)


def test_no_row_is_kept_for_ever(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of photos that are gone are dropped once they are more than half."""
    monkeypatch.setattr(writer, "PART_ROWS", 2)
    for shade in range(9):
        library.paint(f"{shade}.png", shade, 9, 9)
    library.run()
    assert [len(part.vectors) for part in PhotoIndex.open(library.out).parts] == [2] * 6
    before = library.vectors()
    for shade in range(8):
        (library.photos / f"{shade}.png").unlink()
    library.run()
    index = PhotoIndex.open(library.out)
    assert [len(part.vectors) for part in index.parts] == [2, 2]
    after = library.vectors()
    assert after == {path: before[path] for path in after}
    assert len(after) == 4


@pytest.mark.parametrize("save_seconds", [0.0, 1e9])
def test_parts_are_filled_one_after_the_other(
    library: Library, monkeypatch: pytest.MonkeyPatch, save_seconds: float
) -> None:
    monkeypatch.setattr(writer, "PART_ROWS", 4)
    for shade in range(0, 100, 10):
        library.paint(f"{shade}.png", shade, 9, 9)
        library.run(save_seconds=save_seconds, chunk=2)
    index = PhotoIndex.open(library.out)
    assert [len(part.vectors) for part in index.parts] == [4, 4, 4, 1]
    fresh = Library(library.photos.parent)
    fresh.out = library.out.with_name("fresh")
    fresh.run()
    assert library.vectors() == fresh.vectors()


# Bad photos -------------------------------------------------------------------------------------


def test_bad_photos_are_listed_and_do_not_stop_the_run(library: Library) -> None:
    (library.photos / "bad.jpg").write_bytes(b"<html>not found</html>")
    (library.photos / "worse.jpg").symlink_to("nowhere")
    embedded, summary = library.run()
    assert (embedded, summary.counts, summary.exit_code) == (ALL, counted(new=3), 2)
    lines = (library.out / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == summary.failures
    assert sorted(summary.failures, key=lambda each: each["photo"]) == [
        {
            "photo": "bad.jpg",
            "path": str(library.photos / "bad.jpg"),
            "error": "ImageError",
            "message": "it seems to hold an HTML page",
        },
        {
            "photo": "worse.jpg",
            "path": str(library.photos / "worse.jpg"),
            "error": "FileNotFoundError",
            "message": "No such file or directory",
        },
    ]


def test_a_photo_that_went_bad_is_no_longer_found(library: Library) -> None:
    library.run()
    (library.photos / "yard/red.png").write_bytes(b"")
    _, summary = library.run()
    assert summary.counts == counted(same=2)
    assert [each["message"] for each in summary.failures] == ["the file is empty (0 bytes)"]
    assert sorted(library.names()) == ["street/blue.png", "yard/green.png"]
    library.paint("yard/red.png", *RED)
    assert library.run()[1].exit_code == 0
    assert (library.out / "failures.jsonl").read_bytes() == b""


def test_a_pipe_among_the_photos_is_listed(library: Library) -> None:
    os.mkfifo(library.photos / "pipe.png")
    _, summary = library.run()
    assert [each["message"] for each in summary.failures] == ["it is no regular file"]


def test_a_photo_that_cannot_be_opened_for_now_keeps_its_place(library: Library) -> None:
    library.run()
    path = library.photos / "yard/red.png"
    path.unlink()
    path.mkdir()  # as little a file as one without rights, which a test run by root cannot make
    summary = build_index(replace(library.job(), photos=[Photo(str(path), "yard/red.png")]))
    assert [each["photo"] for each in summary.failures] == ["yard/red.png"]
    assert sorted(library.names()) == ALL


def test_a_photo_that_changes_while_it_is_read_is_left_for_the_next_run(library: Library) -> None:
    class Meddler(Observer):
        def step_started(self, *details: Any) -> None:
            os.utime(library.photos / "yard/red.png", ns=(0, 0))

    embedded, summary = library.run(observers=[Meddler()])
    assert embedded == ALL
    assert [each["message"] for each in summary.failures] == [
        "it changed while it was read; index it again"
    ]
    assert library.run()[1].counts == counted(new=1, same=2)


def test_an_index_of_bad_photos_alone_is_empty_and_can_be_searched(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.photos.mkdir()
    (library.photos / "bad.jpg").touch()
    _, summary = library.run()
    assert (summary.photos, summary.exit_code) == (0, 2)
    assert library.names(*RED) == []
    library.paint("red.png", *RED)
    library.run()
    assert library.names(*RED) == ["red.png"]


# Interruptions and crashes ----------------------------------------------------------------------


class Interrupt(Observer):
    """Raises at the start of the step for a chunk."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = after, error

    def step_started(self, *details: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error


def test_ctrl_c_leaves_a_usable_index_and_the_next_run_goes_on(library: Library) -> None:
    embedded, summary = library.run(observers=[Interrupt(2, KeyboardInterrupt())], chunk=1)
    assert embedded == ALL[:2]
    assert (summary.interrupted, summary.exit_code, summary.photos) == (True, 130, 2)
    assert sorted(library.names()) == ALL[:2]
    embedded, summary = library.run()
    assert (embedded, summary.counts) == (ALL[2:], counted(new=1, same=2))


def test_ctrl_c_keeps_what_was_there(library: Library) -> None:
    library.run()
    (library.photos / "yard/red.png").rename(library.photos / "yard/zebra.png")
    library.paint("a.png", 7, 7, 7)
    _, summary = library.run(observers=[Interrupt(0, KeyboardInterrupt())], chunk=1)
    assert summary.interrupted
    assert library.run()[0] == ["a.png"]  # and not what was only renamed


def test_a_crash_loses_what_was_not_written_yet_and_no_more(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SHARE", math.inf)  # write as often as `save_seconds` says
    crash = Interrupt(2, RuntimeError("power cut"))
    with pytest.raises(RuntimeError, match="power cut"):
        library.run(observers=[crash], chunk=1, save_seconds=0)
    assert sorted(library.names()) == ALL[:2]
    assert library.run()[0] == ALL[2:]


@pytest.mark.parametrize("name", ["vectors", "photos", "places", "index"])
def test_a_crash_while_writing_leaves_the_old_index(
    library: Library, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    library.run()
    library.paint("new.png", 1, 2, 3)
    rename = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if target.name.startswith(name):
            raise RuntimeError("power cut")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        library.run()
    assert sorted(library.names()) == ALL
    (library.out / ".vectors-9-0.safetensors.0123456789abcdef.part").touch()  # what kill -9 leaves
    monkeypatch.undo()
    assert library.run()[0] == ["new.png"]
    kinds = sorted(path.name.partition("-")[0] for path in library.out.iterdir())
    assert kinds == [".lock", "failures.jsonl", "index.json", "photos", "places", "vectors"]


def test_a_first_run_that_was_killed_can_be_run_again(library: Library) -> None:
    library.out.mkdir()
    (library.out / "vectors-1-0.safetensors").touch()
    (library.out / ".index.json.0123456789abcdef.part").touch()
    assert library.run()[0] == ALL


def test_who_reads_is_not_disturbed_by_who_writes(library: Library) -> None:
    library.run()
    reader = PhotoIndex.open(library.out)
    library.paint("yard/red.png", 9, 9, 9)
    library.run()
    library.run(overwrite=True)
    (found,) = reader.search([near(*RED)], 1)
    assert (found[0].photo, round(found[0].score, 3)) == ("yard/red.png", 1)


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(
            replace(SPACE, checkpoint="shapes"),
            r"library.vwindex was made with colours \(indextest.embed\), you ask for shapes .*"
            r"Use the index's own model, colours; .*--model shapes --overwrite",
            id="another checkpoint",
        ),
        pytest.param(
            replace(SPACE, weights={"model.safetensors": "f" * 64}),
            r"(?s)with other weights of colours .*model.safetensors 000000000000…\n.* ffffffffffff…"
            r"\n.*visionweave index PHOTOS --out .*library.vwindex --model colours --overwrite",
            id="other weights",
        ),
        pytest.param(
            replace(SPACE, version=2),
            "with version 1 of indextest.embed; this is version 2, whose embeddings differ",
            id="another version of the node",
        ),
    ],
)
def test_an_index_refuses_another_space(library: Library, wanted: Space, message: str) -> None:
    library.run()
    with pytest.raises(JobError, match=message):
        build_index(replace(library.job(), space=wanted))
    with pytest.raises(JobError, match=message):
        PhotoIndex.open(library.out).check_space(wanted)
    assert library.run()[1].counts == counted(same=3)
    build_index(replace(library.job(), space=wanted, overwrite=True))
    assert PhotoIndex.open(library.out).space == wanted


def test_an_index_is_searched_with_its_own_embeddings_only(library: Library) -> None:
    library.run()
    query = Query.of(None, Embedding.normalised([1, 2, 3], "shapes"))
    with pytest.raises(ValueTypeError, match=r"in 'mean colour', 3 numbers each; got one in 'shap"):
        PhotoIndex.open(library.out).search([query], 3)


def test_a_folder_with_other_things_is_not_written_into(library: Library) -> None:
    with pytest.raises(JobError, match="photos is not empty and holds no index of photos"):
        build_index(replace(library.job(), out=library.photos, overwrite=True))
    assert sorted(path.name for path in library.photos.iterdir()) == ["street", "yard"]


def test_a_file_in_the_way_is_said(library: Library) -> None:
    library.out.write_text("a file")
    with pytest.raises(JobError, match=r"cannot write to .*library.vwindex: File exists"):
        library.run()


def test_two_at_a_time_are_refused(library: Library) -> None:
    library.run()
    with (
        filelock.FileLock(library.out / ".lock"),
        pytest.raises(JobError, match="another process is writing this index"),
    ):
        library.run()


def test_a_run_refused_by_the_model_leaves_no_trace(library: Library) -> None:
    @node("indextest.missing")
    class Missing(MeanColour):
        """A model whose weights are not here."""

        def load(self, runtime: Runtime) -> None:
            raise WeightsError("these weights are not here")

    pipeline = Pipeline(embedding=Missing()(Input("photo", Image)))
    with pytest.raises(WeightsError, match="these weights are not here"):
        build_index(replace(library.job(), pipeline=pipeline))
    assert not library.out.exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("index.json", b"{", "index is damaged .*--overwrite", id="no JSON"),
        pytest.param("index.json", b"[]", "index is damaged", id="a list"),
        pytest.param("index.json", b'{"type": "visionweave index"}', "damaged", id="no form"),
        pytest.param(
            "index.json",
            b'{"type": "visionweave index", "form": 2}',
            "expected a visionweave index of form 1; got visionweave index, form 2",
            id="a later form",
        ),
        pytest.param(
            "index.json",
            b'{"type": "visionweave index", "form": 1, "parts": [], "space": {}}',
            "index is damaged",
            id="fields missing",
        ),
        pytest.param("vectors-1-0.safetensors", b"", "index is damaged", id="no vectors"),
        pytest.param("vectors-1-0.safetensors", None, "index is damaged", id="vectors cut off"),
        pytest.param("photos-1.jsonl", b"?" * 700, "index is damaged", id="no lines"),
    ],
)
def test_a_damaged_index_is_refused_and_can_be_replaced(
    library: Library, file: str, content: bytes | None, message: str
) -> None:
    library.run()
    path = library.out / file
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(JobError, match=message):
        library.names(*RED)
    assert library.run(overwrite=True)[0] == ALL
    assert library.names(*RED)[0] == "yard/red.png"


def test_an_index_that_lost_a_file_is_damaged(library: Library) -> None:
    library.run()
    (library.out / "photos-1.jsonl").unlink()
    with pytest.raises(JobError, match=r"index is damaged .*photos-1.jsonl"):
        library.names()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"nothing does not exist; make one: visionweave index"),
        ("photos", r"photos is no index of photos; make one"),
        ("photos/yard/red.png", r"red.png is no index of photos"),
    ],
)
def test_what_is_no_index_is_not_opened(library: Library, name: str, message: str) -> None:
    with pytest.raises(JobError, match=message):
        PhotoIndex.open(library.photos.parent / name)

"""`visionweave index` and `visionweave search`, as a person meets them.

The model is a stand-in that embeds a photo as its mean colour, and a text as the colour it names,
so that it can be seen whether the right photos are found.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import ImageColor
from safetensors.numpy import save

from visionweave import Cutout, Embedding, Image, ModelNode, Runtime, Text, batched, node
from visionweave.cli import main
from visionweave.registry import replaced
from visionweave.weights import checkpoint

COLOURS = ("red", "lime", "blue", "orange", "navy")


@node("clip.embed")
class ByColour(ModelNode):
    """Embeds photos by their mean colour and texts by the first colour they name."""

    def __init__(self, model: str = "tiny") -> None:
        self.model = model

    def load(self, runtime: Runtime) -> None:
        self.space = f"clip/{checkpoint(self.model, family='clip').name}"

    async def run(self, content: Image | Cutout | Text) -> Embedding:
        if isinstance(content, Text):
            named = next(word for word in content.text.split() if word in COLOURS)
            vector = np.array(ImageColor.getrgb(named), float)
        else:
            assert isinstance(content, Image)
            vector = await self.mean(content.pixels)
        return Embedding.normalised(vector + 1, self.space, content.origin)

    @batched(size=4)
    def mean(self, pixels: list[np.ndarray]) -> list[np.ndarray]:
        return [each.reshape(-1, 3).mean(axis=0) for each in pixels]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with photos/, and a store with the checkpoints "tiny" and "other"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / "weights"))
    list_checkpoints(tmp_path / "weights", tiny=b"1", other=b"2")
    for colour in COLOURS:
        path = tmp_path / "photos" / ("dark" if colour == "navy" else "") / f"{colour}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (64, 48), colour).save(path)
    with replaced({"clip.embed": ByColour}):
        yield tmp_path


def list_checkpoints(store: Path, **contents: bytes) -> None:
    """Put checkpoints into a store, and their entries into its list."""
    entries = []
    for name, content in contents.items():
        (store / name).mkdir(parents=True, exist_ok=True)
        (store / name / "model.safetensors").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        entries.append(
            f'[checkpoint.{name}]\nfamily = "clip"\nlicense = "MIT"\ncommercial = "yes"\n'
            f'files = [{{ name = "model.safetensors", sha256 = "{sha256}" }}]\n'
        )
    (store / "weights.lock").write_text("".join(entries))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_photos_are_indexed_and_found_by_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "index", "photos/", "--out", "library.vwindex")
    assert code == 0
    assert err.splitlines()[0] == "models by name: tiny"
    assert err.splitlines()[-1].startswith("5 photos in library.vwindex after ")
    assert err.endswith("s: 5 new\n")
    code, out, err = run(capsys, "search", "library", "an orange bicycle", "-k", "2")
    assert code == 0
    assert out == "rank  score  photo\n   1  1.000  orange.png\n   2  0.841  red.png\n"
    root = Path.cwd() / "photos"
    assert err.splitlines() == ["models by name: tiny", f"2 of 5 photos in {root}, by tiny"]


def test_an_index_is_brought_up_to_date(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run(capsys, "index", "photos")
    photos = here / "photos"
    (photos / "red.png").rename(photos / "apple.png")
    (photos / "lime.png").unlink()
    PIL.Image.new("RGB", (9, 9), "orange").save(photos / "blue.png")
    PIL.Image.new("RGB", (9, 9), "red").save(photos / "brick.png")
    code, _, err = run(capsys, "index", "photos")
    assert code == 0
    assert err.endswith(": 1 new, 1 changed, 1 moved, 1 gone, 2 same\n")
    _, out, _ = run(capsys, "search", "library.vwindex", "red", "-k", "2")
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["apple.png", "brick.png"]
    _, _, err = run(capsys, "index", "photos/dark", "--prune")
    assert err.endswith(": 4 gone, 1 same\n")


def test_photos_are_found_by_a_picture_or_by_both(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    run(capsys, "index", "photos")
    PIL.Image.new("RGB", (5, 5), (0, 0, 130)).save(here / "query.png")
    arguments = ["search", "library", "--image", "query.png", "--json"]
    _, out, _ = run(capsys, *arguments, "-k", "2")
    found = json.loads(out)
    hits = found.pop("hits")
    assert found == {
        "index": "library.vwindex",
        "photos": 5,
        "model": "tiny",
        "text": None,
        "image": "query.png",
    }
    assert {hits[0]["photo"], hits[1]["photo"]} == {"dark/navy.png", "blue.png"}
    assert hits[0]["rank"] == 1
    assert hits[0]["path"] == str(here / "photos" / hits[0]["photo"])
    firsts = []
    for weight in ("0.1", "0.9"):
        _, out, _ = run(capsys, *arguments, "a lime", "--text-weight", weight)
        firsts.append([hit["photo"] for hit in json.loads(out)["hits"]])
    assert (len(firsts[0]), firsts[0][2], firsts[1][0]) == (5, "lime.png", "lime.png")


@pytest.mark.parametrize("name", ["found.png", "found.jpg"])
def test_a_contact_sheet_is_drawn(
    capsys: pytest.CaptureFixture[str], here: Path, name: str
) -> None:
    run(capsys, "index", "photos")
    code, out, err = run(capsys, "search", "library", "red", "-k", "3", "--sheet", name)
    assert (code, out.splitlines()[1].split()[-1]) == (0, "red.png")
    assert f"3 photos drawn into {name}\n" in err
    sheet = PIL.Image.open(here / name)
    assert sheet.size == (3 * 248 + 8, 276 + 8)
    red, green, blue = sheet.convert("RGB").getpixel((128, 128))  # type: ignore[misc]
    assert red > 250
    assert max(green, blue) < 5


def test_bad_photos_are_listed(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    for number in range(12):
        (here / f"photos/{number:02}.jpg").touch()
    code, _, err = run(capsys, "index", "photos")
    lines = [line for line in err.splitlines() if line]
    assert code == 2
    failed = [line for line in lines if line.startswith("failed: ")]
    assert (failed[0], len(failed)) == ("failed: 00.jpg: the file is empty (0 bytes)", 10)
    assert lines[-2] == f"and 2 more, in {Path('library.vwindex/failures.jsonl')}"
    assert lines[-1].endswith("5 new, 12 failed")
    assert len((here / "library.vwindex/failures.jsonl").read_text().splitlines()) == 12


def test_large_photos_can_be_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    limit = PIL.Image.MAX_IMAGE_PIXELS
    try:
        code, _, err = run(capsys, "index", "photos", "--max-megapixels", "0.001")
        assert code == 2
        assert "it has 0.0 megapixels and the limit is 0.0" in err
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit


REFUSALS = [
    pytest.param(
        ["index", "photos", "--model", "other"],
        "library.vwindex was made with tiny (clip.embed), you ask for other (clip.embed)",
        id="index with another model",
    ),
    pytest.param(
        ["search", "library", "red", "--profile", "other"],
        "Use the index's own model, tiny;",
        id="search with another model",
    ),
    pytest.param(["search", "library"], 'visionweave search library "a dog"', id="nothing asked"),
    pytest.param(
        ["search", "elsewhere", "red"],
        "elsewhere does not exist; make one: visionweave index PHOTOS --out OUT",
        id="no index",
    ),
    pytest.param(
        ["search", "library", "red", "--sheet", "found.txt"],
        "found.txt: expected a picture's name, such as found.png",
        id="no picture's name",
    ),
    pytest.param(
        ["search", "library", "red", "--sheet", "a/b.png"],
        f"b.png: there is no folder {Path('a')}",
        id="no folder for the sheet",
    ),
    pytest.param(
        ["search", "library", "--image", "none.png"], "there is no such file", id="no query photo"
    ),
    pytest.param(["search", "library", "red", "-k", "0"], "Invalid value for '-k'", id="k of 0"),
    pytest.param(["index", "nowhere"], "there is no file or folder 'nowhere'", id="no photos"),
    pytest.param(
        ["index", "photos", "--out", "photos"],
        "photos is not empty and holds no index of photos",
        id="out is another folder",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_what_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    run(capsys, "index", "photos")
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert message in " ".join(err.split())


def test_weights_that_changed_are_refused_and_the_way_out_works(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    run(capsys, "index", "photos")
    list_checkpoints(here / "weights", tiny=b"another training")
    for arguments in (["index", "photos"], ["search", "library", "red"]):
        code, _, err = run(capsys, *arguments)
        assert code == 1
        assert "library.vwindex was made with other weights of tiny than those listed now" in err
    fix = err.partition("visionweave ")[2].replace("PHOTOS", "photos").split()
    assert run(capsys, *fix)[0] == 0
    assert run(capsys, "search", "library", "red")[0] == 0


def test_weights_that_are_missing_are_said_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "weights/tiny/model.safetensors").unlink()
    code, _, err = run(capsys, "index", "photos")
    assert code == 1
    assert "tiny is not on this machine" in err
    assert not (here / "library.vwindex").exists()


# Before it begins -----------------------------------------------------------------------------


@pytest.fixture
def large(here: Path) -> None:
    """Checkpoints of which "tiny" needs 6 MB: the weights, and as much again to work in."""
    sizes = {"tiny": 750_000, "other": 75_000}
    weights = {name: save({"w": np.zeros(size, np.float32)}) for name, size in sizes.items()}
    list_checkpoints(here / "weights", **weights)
    lock = here / "weights/weights.lock"
    profiles = '[profiles.base]\nclip = "other"\n[profiles.large]\nclip = "tiny"\n'
    lock.write_text(profiles + lock.read_text())


def on_small(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Run `index photos` on a machine of 1 MB: the exit code, and what is said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visionweave.budget.request.known_memory", lambda device: 1_000_000)
        code, _, err = run(capsys, "index", "photos", *arguments)
    return code, err.splitlines()


@pytest.mark.usefixtures("large")
def test_what_the_model_needs_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visionweave.budget.request.known_memory", lambda device: None)
    monkeypatch.setattr("visionweave.budget.preflight.free_memory", lambda device: None)
    _, _, err = run(capsys, "index", "photos", "--batch", "2")
    assert err.splitlines()[:4] == [
        "models by name: tiny",
        "  clip_embed  tiny needs 6 MB: 3 MB of weights, 3 MB to work in (guessed); here",
        "memory: 6 MB for all models; cpu, fp32, has an unknown size",
        "photos: 5, in chunks of up to 64",
    ]
    _, _, err = run(capsys, "index", "photos", "--overwrite")
    assert "time: about 1 s for the models, from earlier jobs on this machine\n" in err


@pytest.mark.usefixtures("large")
def test_a_model_that_does_not_fit_is_refused_with_one_that_does_and_that_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = on_small(capsys)
    refusal = [
        "error: 6 MB of memory are needed, and cpu has 1 MB",
        "it could run",
        "  with a smaller model: --model other",
    ]
    assert (code, lines[-3:]) == (1, refusal)
    assert not Path("library.vwindex").exists()
    assert on_small(capsys, *lines[-1].split()[-2:])[0] == 0


@pytest.mark.usefixtures("large")
def test_of_an_index_that_is_there_only_what_is_left_counts(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    run(capsys, "index", "photos")
    (here / "photos/red.png").rename(here / "photos/apple.png")
    (here / "photos/lime.png").unlink()
    code, lines = on_small(capsys)
    assert (code, lines[1]) == (0, "photos: 4; nothing is left for models to do")
    assert lines[-1].endswith(": 1 moved, 1 gone, 3 same")
    for name in ("new", "blue"):
        PIL.Image.new("RGB", (7, 7), "teal").save(here / f"photos/{name}.png")
    (here / "photos/bad.png").symlink_to("nowhere")
    code, lines = on_small(capsys)
    assert code == 1
    said = "photos: 6, 2 of them left for models to look at, in chunks of up to 64"
    assert said in lines
    assert lines[-1] == "  with a smaller model: --model other --overwrite"
    assert on_small(capsys, *lines[-1].split()[-3:])[0] == 2  # of the link to nowhere


SLOW = """
import sys, time
from visionweave import Embedding, Image, ModelNode, node
from visionweave.cli import main
from visionweave.registry import replaced

@node("clip.embed")
class Slow(ModelNode):
    def __init__(self, model: str = "tiny") -> None:
        pass
    def load(self, runtime): pass
    async def run(self, content: Image) -> Embedding:
        print(content.origin.photo, flush=True)
        time.sleep(60)

with replaced({"clip.embed": Slow}):
    sys.exit(main(["index", "photos"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_index_survives_a_kill(
    capsys: pytest.CaptureFixture[str], here: Path, number: signal.Signals
) -> None:
    run(capsys, "index", "photos")
    PIL.Image.new("RGB", (9, 9), "teal").save(here / "photos/teal.png")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], env=dict(os.environ), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "teal.png\n"
        process.send_signal(number)
    assert process.returncode == -number
    _, out, _ = run(capsys, "search", "library", "red", "-k", "1")
    assert out.splitlines()[1].split()[-1] == "red.png"
    _, _, err = run(capsys, "index", "photos")
    assert err.endswith("1 new, 5 same\n")

"""clip.search on a tiny random model: what it finds, what it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save

import visionweave as vw
from visionweave import Cutout, Embedding, Fit, Hits, Image, Origin, Pipeline, Runtime, Text
from visionweave.cli import main
from visionweave.errors import JobError, NodeFailed, PipelineError
from visionweave.index import IndexJob, PhotoIndex, Space, build_index
from visionweave.jobs.photos import find_photos
from visionweave.nodes.clip import Embed, Search
from visionweave.nodes.clip.towers_open_clip import build
from visionweave.values.origin import UNKNOWN
from visionweave.weights import checkpoint

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
CONFIG = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
PHOTOS = 12


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value)


def list_model(store: Path, name: str, seed: int) -> None:
    """Put a random model into the store, and its entry into the user's list."""
    torch.manual_seed(seed)
    network = build(CONFIG).eval()
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if weight.ndim > 1 and "embedding" not in key:
                weight.mul_(2)  # so that its vectors differ well from each other
    content = save(network.state_dict())
    (store / name).mkdir(exist_ok=True)
    (store / name / "model.safetensors").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    (store / "weights.lock").write_text(
        f'[checkpoint.{name}]\nfamily = "clip"\nlicense = "MIT"\ncommercial = "yes"\n'
        f'files = [{{ name = "model.safetensors", sha256 = "{sha256}" }}]\n'
        f"config = {toml({'architecture': CONFIG, 'image_size': 32})}\n"
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with the checkpoint "tiny"."""
    store = tmp_path_factory.mktemp("weights")
    list_model(store, "tiny", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONWEAVE_WEIGHTS", str(store))
        keeper = Embed("tiny")
        keeper.ensure_loaded(Runtime.get("cpu", "fp32"))  # so that it is loaded once for all tests
        yield store


def picture(seed: int) -> PIL.Image.Image:
    """A smooth colour picture, as photos are, and no noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize((56, 40))


def cutout(seed: int, origin: Origin = UNKNOWN) -> Cutout:
    """The middle of a picture, which is what the model sees of it."""
    pixels = np.asarray(picture(seed).convert("RGBA"))[:, 8:48]
    return Cutout(pixels, (8, 0, 48, 40), origin)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """An index of twelve photos, made with "tiny"."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "photos").mkdir()
    for seed in range(PHOTOS):
        picture(seed).save(folder / "photos" / f"{seed:02}.png")
    pipeline = Pipeline(embedding=Embed("tiny")(vw.Input("photo", Image)))
    space = Space.of(checkpoint("tiny", "clip"), Embed.spec)
    photos = find_photos([str(folder / "photos")])
    job = IndexJob(pipeline, space, photos, folder / "index", device="cpu", precision="fp32")
    assert build_index(job).exit_code == 0
    return folder / "index"


@pytest.fixture(scope="module")
def embeddings(library: Path) -> dict[str, Embedding]:
    """Each photo's embedding, made one by one."""
    paths = sorted((library.parent / "photos").iterdir())
    pipeline = Pipeline(embedding=Embed("tiny")(vw.Input("photo", Image)))
    options = {"device": "cpu", "precision": "fp32"}
    return {path.name: pipeline.run(photo=path, **options)["embedding"] for path in paths}


def run(node: Search, **inputs: Any) -> Hits:
    """Run a search in fp32."""
    kinds = {"image": Image, "text": Text}
    given = {name: vw.Input(name, kinds[name]) for name in inputs}
    return Pipeline(hits=node(**given)).run(device="cpu", precision="fp32", **inputs)["hits"]


def expected(embeddings: dict[str, Embedding], query: Embedding) -> list[tuple[str, float]]:
    scores = {name: query.similarity(each) for name, each in embeddings.items()}
    return sorted(scores.items(), key=lambda pair: -pair[1])


def test_a_text_finds_what_comparing_with_each_photo_finds(
    library: Path, embeddings: dict[str, Embedding]
) -> None:
    hits = run(Search(str(library), k=5), text=Text("a courier on a bicycle"))
    embed = Pipeline(out=Embed("tiny")(vw.Input("text", Text)))
    query = embed.run(text="a courier on a bicycle", device="cpu", precision="fp32")["out"]
    wanted = expected(embeddings, query)[:5]
    assert hits.keys == tuple(name for name, _ in wanted)
    assert hits.scores == pytest.approx([score for _, score in wanted], abs=1e-5)
    assert hits.query == "a courier on a bicycle"


def test_a_picture_finds_itself_first(library: Path, embeddings: dict[str, Embedding]) -> None:
    hits = run(Search(str(library)), image=Image.open(library.parent / "photos/07.png", "q.png"))
    assert hits.keys == tuple(name for name, _ in expected(embeddings, embeddings["07.png"]))
    assert (hits.keys[0], hits.query, len(hits)) == ("07.png", "like q.png", PHOTOS)
    assert hits.scores[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text_weight", [0, 0.4, 1])
def test_both_are_weighed(library: Path, text_weight: float) -> None:
    asked = {"text": Text("apple"), "image": Image.from_pil(picture(3))}
    alone = [run(Search(str(library)), **{name: value}) for name, value in asked.items()]
    text, image = (dict(zip(hits.keys, hits.scores, strict=True)) for hits in alone)
    hits = run(Search(str(library), text_weight=text_weight), **asked)
    mean = [text_weight * text[key] + (1 - text_weight) * image[key] for key in hits.keys]
    assert hits.scores == pytest.approx(mean, abs=1e-5)
    assert hits.query == "apple, like a picture"


def test_a_cutout_is_searched_on_its_background(library: Path) -> None:
    mug = cutout(4, Origin("a.jpg", object=2, label="mug"))
    hits = Search(str(library), k=1)(image=mug)
    assert (hits.keys, hits.query) == (("04.png",), "like mug, object 2 of a.jpg")


def test_results_do_not_depend_on_the_batch(library: Path) -> None:
    node = Search(str(library), k=4)
    pipeline = Pipeline(hits=node(image=vw.Input("image", Image)))
    photos = [Image.from_pil(picture(seed)) for seed in range(9)]
    alone, together = (
        [result["hits"] for result in pipeline.map(photos, batch=batch, device="cpu")]
        for batch in (1, 7)
    )
    for one, many in zip(alone, together, strict=True):
        assert one.keys == many.keys
        assert np.abs(one.scores - many.scores).max() < 1e-5


def test_bf16_stays_within_the_tolerance(library: Path) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        pipeline = Pipeline(hits=Search(str(library))(text=vw.Input("text", Text)))
        hits = pipeline.run(text="an apple", device="cpu", precision=precision)["hits"]
        found.append(dict(zip(hits.keys, hits.scores, strict=True)))
    differences = [abs(found[0][key] - found[1][key]) for key in found[0]]
    assert 0 < max(differences) < Search.tolerance


def test_a_search_without_anything_to_look_for_fails(library: Path) -> None:
    with pytest.raises(NodeFailed, match="there is nothing to search for; give a text, an image"):
        Search(str(library))()


def test_photos_are_decoded_for_the_model_of_the_index(library: Path) -> None:
    assert Search(str(library)).fit() == Fit(short=32)
    assert Search("not/there/yet").fit() is None


def test_an_index_that_is_not_there_is_said_when_it_is_needed() -> None:
    node = Search("not/there/yet")
    with pytest.raises(JobError, match=r"not/there/yet does not exist; make one: visionweave ind"):
        node(text=Text("apple"))


def test_other_weights_than_those_of_the_index_are_refused(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_model(tmp_path, "tiny", seed=1)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    with pytest.raises(JobError, match="made with other weights of tiny than those listed now"):
        Search(str(library))(text=Text("apple"))


def test_the_space_of_an_index_is_that_of_its_embeddings(library: Path, store: Path) -> None:
    index = PhotoIndex.open(library)
    sha256 = hashlib.sha256((store / "tiny/model.safetensors").read_bytes()).hexdigest()
    assert index.space == Space("tiny", {"model.safetensors": sha256}, "clip.embed", 1)
    assert index.manifest.embedding == "clip/tiny"
    with pytest.raises(JobError, match=r"made with version 1 of clip.embed; this is version 2"):
        index.check_space(replace(index.space, version=2))


def test_unloading_forgets_the_model_and_the_index(library: Path) -> None:
    node = Search(str(library), k=1)
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    node.unload()
    assert not {"clip", "photos"} & vars(node).keys()
    assert len(node(text=Text("apple"))) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "setting 'index' must be given"),
        ({"index": ""}, "setting 'index' is out of range"),
        ({"index": "x", "k": 0}, "setting 'k' is out of range"),
        ({"index": "x", "text_weight": 1.1}, "setting 'text_weight' is out of range"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Search(**settings)


def test_a_pipeline_file_searches_with_every_cutout(library: Path) -> None:
    text = f"""
        visionweave: 1
        inputs: {{cutouts: "list[Cutout]"}}
        steps:
          similar: {{node: clip.search, image: $cutouts, index: {json.dumps(str(library))}, k: 2}}
        outputs: [similar]
    """
    cutouts = [cutout(5), cutout(9)]
    result = Pipeline.from_yaml(text).run(cutouts=cutouts, device="cpu", precision="fp32")
    assert [hits.keys[0] for hits in result["similar"]] == ["05.png", "09.png"]
    assert Pipeline.from_yaml(text).run(cutouts=[], device="cpu")["similar"] == []


def test_the_commands_find_what_the_node_finds(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = str(library.parent / "photos"), str(tmp_path / "out")
    options = ["--device", "cpu", "--precision", "fp32"]
    assert main(["index", photos, "--out", out, "--model", "tiny", *options]) == 0
    assert PhotoIndex.open(tmp_path / "out").space == PhotoIndex.open(library).space
    image = f"{photos}/03.png"
    capsys.readouterr()
    arguments = ["search", out, "apple", "--image", image, "--text-weight", "0.3", "--json"]
    assert main([*arguments, *options]) == 0
    hits = run(Search(str(library), text_weight=0.3), text=Text("apple"), image=Image.open(image))
    found = json.loads(capsys.readouterr().out)["hits"]
    assert tuple(hit["photo"] for hit in found) == hits.keys
    assert [hit["score"] for hit in found] == pytest.approx(hits.scores, abs=1e-5)

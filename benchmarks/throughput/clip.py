"""CLIP ViT-B/32: an embedding of each photo of a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.jobs.peak import Peak
from visionweave.nodes.clip import Embed

from .run import (
    OURS,
    Outcome,
    Settings,
    alone,
    best_rate,
    ceiling,
    decoding,
    each_alone,
    one_by_one,
    print_ceilings,
    print_ways,
    woven,
)
from .weights import made_in, make_weights

NAME = "random-clip"


def plain_loop(settings: Settings) -> Outcome:
    """What open_clip's README shows: a photo at a time, in fp32."""
    import open_clip

    weights = str(made_in(NAME) / "open_clip_model.safetensors")
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=weights)
    model = model.eval().to(settings.torch_device)

    def do(path: str) -> Any:
        pixels = preprocess(PIL.Image.open(path)).unsqueeze(0).to(settings.torch_device)
        return model.encode_image(pixels, normalize=True)[0].cpu().numpy()

    return one_by_one(settings, do)


def transformers_pipeline(settings: Settings) -> Outcome:
    """transformers' pipeline with a model of the same size, in batches."""
    import transformers

    config = transformers.CLIPVisionConfig(patch_size=32, hidden_size=768, intermediate_size=3072)
    extract = transformers.pipeline(
        "image-feature-extraction",
        model=transformers.CLIPVisionModelWithProjection(config).eval(),
        image_processor=transformers.CLIPImageProcessor(),
        device=settings.torch_device,
    )
    batch = settings.batch or 32
    extract(list(settings.photos[:batch]), batch_size=batch)
    started = time.perf_counter()
    extract(list(settings.photos), batch_size=batch)
    return Outcome(time.perf_counter() - started)


class RayEmbed:
    """The class of a Ray Data job, as its documentation shows; it also says when it was ready."""

    def __init__(self, device: str) -> None:
        import open_clip

        weights = str(made_in(NAME) / "open_clip_model.safetensors")
        model, _, self.preprocess = open_clip.create_model_and_transforms(
            "ViT-B-32", pretrained=weights
        )
        self.model, self.device = model.eval().to(device), device
        self.peak = Peak()
        self.embed([np.zeros((960, 1280, 3), np.uint8)])
        self.ready = time.time()

    def embed(self, photos: Iterable[np.ndarray]) -> np.ndarray:
        import torch

        pixels = [self.preprocess(PIL.Image.fromarray(each)) for each in photos]
        with torch.inference_mode():
            vectors = self.model.encode_image(torch.stack(pixels).to(self.device), normalize=True)
        return vectors.cpu().numpy()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        vectors = self.embed(batch["image"])
        self.peak.ask()
        about = json.dumps({"ready": self.ready, "peak": self.peak.bytes})
        return {"path": batch["path"], "vector": vectors, "about": [about] * len(vectors)}


def ray_data(settings: Settings) -> Outcome:
    """A Ray Data job: reading and embedding as a stream of batches.

    Every job starts its actor anew, so the clock starts when the actor has loaded and warmed its
    model; the first photos are read by then. The memory is the actor's alone.
    """
    import ray

    # One processor is the actor's.
    ray.init(num_cpus=settings.threads + 1, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    read = ray.data.read_images(list(settings.photos), include_paths=True, mode="RGB")
    job = read.map_batches(
        RayEmbed,
        fn_constructor_kwargs={"device": settings.torch_device},
        batch_size=settings.batch or 32,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_gpus=0 if settings.torch_device == "cpu" else 1,
    )
    rows = {Path(row["path"]).name: row for row in job.take_all()}
    ended = time.time()
    ray.shutdown()
    about = [json.loads(row["about"]) for row in rows.values()]
    peak = max((each["peak"] for each in about), key=lambda peak: peak.get("process", 0))
    vectors = [rows[Path(path).name]["vector"] for path in settings.photos]
    return Outcome(ended - about[0]["ready"], vectors, peak)


def weave(settings: Settings) -> Outcome:
    """visionweave."""
    photo = vw.Input("photo", vw.Image)
    pipeline = vw.Pipeline(embedding=Embed(NAME)(photo))
    return woven(settings, pipeline, lambda result: result["embedding"].vector)


def ceilings(settings: Settings) -> tuple[float, int, float, float]:
    """The model alone and its best batch; decoding in full and as far as CLIP needs it."""
    node = Embed(NAME)
    photo = vw.Image.open(settings.photos[0])
    rate, batch, _ = best_rate(settings, node, lambda count: [[photo]] * count)
    fit = node.fit()
    assert fit is not None
    return rate, batch, decoding(settings, None), decoding(settings, [fit])


def prepare(settings: Settings) -> None:
    make_weights(NAME)


def main(settings: Settings) -> None:
    """Run all ways, and print how they compare."""
    alone(prepare, settings)
    ways = {
        "plain open_clip loop": plain_loop,
        "transformers pipeline": transformers_pipeline,
        "Ray Data": ray_data,
        OURS: weave,
    }
    found = each_alone(ways, settings)
    model, batch, full, reduced = alone(ceilings, settings)
    ours = print_ways(settings, found)
    rows = {
        "the model alone": f"{model:.3g} photos/s, in batches of {batch}",
        "decoding in full, a thread": f"{full:.3g} photos/s",
        "decoding as far as needed, a thread": f"{reduced:.3g} photos/s",
    }
    print_ceilings(ours, ceiling(settings, [model], reduced), rows)
    plain, *others = [(name, each.values) for name, each in found.items() if each and each.values]
    apart = [f"{farthest(plain[1], vectors):.1e} ({name})" for name, vectors in others]
    print(f"\nEmbeddings beside the plain loop's, 1 - cosine at most: {', '.join(apart)}.")


def farthest(ones: list[np.ndarray], others: list[np.ndarray]) -> float:
    """The largest 1 - cosine of embeddings of the same photos."""
    pairs = zip(ones, others, strict=True)
    return max(1 - float(np.dot(one, other)) for one, other in pairs)

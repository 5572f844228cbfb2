"""Tags to boxes to masks: Tag2Text, Grounding DINO Swin-T and SAM ViT-B, of each photo of a folder.

Random weights find arbitrary things, so that both sides are made to do the same work: the tagger
gives every photo the same eight tags, and of the detector's 900 boxes the best go on to SAM, an
equal number for each photo, whatever their scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.nodes.grounding_dino import Detect
from visionweave.nodes.sam import Segment
from visionweave.nodes.tag2text import Tag

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
from .weights import PHRASES, made_in, make_weights

TAGS, BOXES, MASKS = "random-tag2text", "random-grounding-dino", "random-sam"

NEAR = 2.0
"""Two boxes are one when no side is further apart, in pixels."""


def nodes(settings: Settings) -> tuple[Tag, Detect, Segment]:
    return Tag(TAGS), Detect(BOXES, box_threshold=0.0, most=settings.objects), Segment(MASKS)


def plain_script(settings: Settings) -> Outcome:
    """What the demos of Grounded-SAM do: each model once for each photo, in fp32."""
    tagger, detector, segmenter = _tagger(settings), _detector(settings), _segmenter(settings)

    def do(path: str) -> Any:
        photo = PIL.Image.open(path).convert("RGB")
        tags = tagger(photo)
        boxes = detector(photo, tags)
        return boxes, segmenter(photo, boxes)

    return one_by_one(settings, do)


def _tagger(settings: Settings) -> Any:
    """There is no package of the tagger to install: our network, as its script runs it."""
    import torch

    node = Tag(TAGS)
    node.ensure_loaded(vw.Runtime.get(settings.device, "fp32"))

    def tags(photo: PIL.Image.Image) -> list[str]:
        pixels = torch.from_numpy(np.array(photo.resize((384, 384)))).to(settings.torch_device)
        scores = node._tagger.score(node._tagger.encode(pixels[None]))[0].cpu().numpy()
        return [PHRASES[place] for place in np.flatnonzero(scores > 0.68)]

    return tags


def _detector(settings: Settings) -> Any:
    import torch
    from transformers import (
        BertTokenizer,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
    )

    device = settings.torch_device
    tokenizer = BertTokenizer(vocab=str(made_in(BOXES) / "vocab.txt"))
    processor = GroundingDinoProcessor(GroundingDinoImageProcessorPil(), tokenizer)
    model = GroundingDinoForObjectDetection.from_pretrained(made_in(BOXES)).eval().to(device)

    def boxes(photo: PIL.Image.Image, tags: list[str]) -> Any:
        inputs = processor(photo, ". ".join(tags) + ".", return_tensors="pt").to(device)
        found = model(**inputs)
        words = torch.isin(inputs["input_ids"][0], torch.tensor([101, 102, 1012], device=device))
        scores = found.logits.sigmoid()[0, :, : len(words)][:, ~words].amax(1)
        best = scores.argsort(descending=True)[: settings.objects]
        centre, size = found.pred_boxes[0, best].split(2, dim=1)
        corners = torch.cat([centre - size / 2, centre + size / 2], 1)
        corners = corners * torch.tensor([*photo.size] * 2, device=device)
        return corners.cpu().numpy()

    return boxes


def _segmenter(settings: Settings) -> Any:
    import torch
    from safetensors.torch import load_file
    from segment_anything import SamPredictor, build_sam_vit_b

    network = build_sam_vit_b()
    network.load_state_dict(load_file(made_in(MASKS) / "model.safetensors"))
    predictor = SamPredictor(network.eval().to(settings.torch_device))

    def masks(photo: PIL.Image.Image, boxes: Any) -> Any:
        predictor.set_image(np.asarray(photo))
        prompts = torch.from_numpy(boxes).to(settings.torch_device)
        size_hw = (photo.height, photo.width)
        prompts = predictor.transform.apply_boxes_torch(prompts, size_hw)
        found, _, _ = predictor.predict_torch(None, None, prompts, multimask_output=False)
        return np.packbits(found[:, 0].cpu().numpy(), axis=-1)

    return masks


def weave(settings: Settings) -> Outcome:
    """visionweave."""
    tag, detect, segment = nodes(settings)
    photo = vw.Input("photo", vw.Image)
    boxes = detect(photo, tag(photo))
    pipeline = vw.Pipeline(boxes=boxes, masks=segment(photo, boxes))

    def value(result: vw.Result) -> Any:
        # The masks are compared as they are kept, and opened when the clock has stopped.
        return result["boxes"].xyxy, result["masks"]

    outcome = woven(settings, pipeline, value)
    outcome.values = [(xyxy, np.packbits(masks.array(), axis=-1)) for xyxy, masks in outcome.values]
    return outcome


def ceilings(settings: Settings) -> tuple[list[tuple[float, int]], float]:
    """Each model alone and its best batch; decoding in full, as SAM needs it."""
    tag, detect, segment = nodes(settings)
    photos = [vw.Image.open(path) for path in settings.photos]

    def rows(*columns: list[Any]) -> Any:
        columns = (photos, *columns)
        return lambda count: [
            [column[index % len(column)] for column in columns] for index in range(count)
        ]

    rate, batch, tags = best_rate(settings, tag, rows())
    found = [(rate, batch)]
    rate, batch, boxes = best_rate(settings, detect, rows(tags))
    found.append((rate, batch))
    photos = photos[: len(boxes)]
    rate, batch, _ = best_rate(settings, segment, rows(boxes))
    found.append((rate, batch))
    return found, decoding(settings, None)


def compare(plain: list[Any], ours: list[Any]) -> None:
    """Print how many boxes are the same, and how well the masks of these agree."""
    same, total, overlaps = 0, 0, []
    for (boxes, masks), (our_boxes, our_masks) in zip(plain, ours, strict=True):
        distance = np.abs(boxes[:, None] - our_boxes[None]).max(axis=2)
        total += len(boxes)
        for place, nearest in enumerate(distance.argmin(axis=1)):
            if distance[place, nearest] <= NEAR:
                same += 1
                one, other = (np.unpackbits(m) > 0 for m in (masks[place], our_masks[nearest]))
                union = (one | other).sum()
                overlaps.append((one & other).sum() / union if union else 1.0)
    print(
        f"\n{same} of {total} boxes are the script's to {NEAR:g} pixels; the masks of these have "
        f"an intersection over union of {np.mean(overlaps or [0]):.4f} in the mean, "
        f"{np.min(overlaps or [0]):.4f} at least. Random scores lie close together, so that the "
        "last boxes of a photo may be others; in fp32 all that are the same should agree to 0.999."
    )


def prepare(settings: Settings) -> None:
    make_weights(TAGS, BOXES, MASKS)


def main(settings: Settings) -> None:
    """Run both ways, and print how they compare."""
    alone(prepare, settings)
    ways = {"plain script": plain_script, OURS: weave}
    found = each_alone(ways, settings)
    models, decoded = alone(ceilings, settings)
    ours = print_ways(settings, found)
    rows = {
        f"{name} alone": f"{rate:.3g} photos/s, in batches of {batch}"
        for name, (rate, batch) in zip(("Tag2Text", "Grounding DINO", "SAM"), models, strict=True)
    }
    rows["decoding in full, a thread"] = f"{decoded:.3g} photos/s"
    print_ceilings(ours, ceiling(settings, [rate for rate, _ in models], decoded), rows)
    compare(found["plain script"].values, found[OURS].values)
    print(f"{settings.objects} boxes of each photo went to SAM, on both sides.")

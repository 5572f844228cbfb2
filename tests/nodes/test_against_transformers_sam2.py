"""sam.segment and sam.everything with a SAM 2.1 against transformers' Sam2Model, small and random.

One prompt gives the very same mask, bit for bit. Of several together all but a ten-thousandth of
the pixels agree: transformers puts those of one photo in one batch, so that it sums in another
order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

import visionweave as vw
from visionweave import Boxes, Fit, Image, Input, Masks, Observer, Pipeline, Points, Scribble
from visionweave.errors import WeightsError
from visionweave.nodes.sam import Everything, Segment
from visionweave.nodes.sam.frame import Squashed
from visionweave.nodes.sam.hub import HIERAS, HubShape
from visionweave.testing import make_image
from visionweave.weights.lock import shipped_lock

SIDE = 128
CONFIG: dict[str, Any] = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "window_size_per_stage": [8, 4, 4, 2],
            "global_attention_blocks": [3],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 8},
    "mask_decoder_config": {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    },
}
SIZES = [pytest.param((200, 90), id="wide"), pytest.param((60, 75), id="small and tall")]
PUBLISHED = {
    "hiera_tiny": 156_008_466,
    "hiera_small": 184_416_285,
    "hiera_base_plus": 323_606_802,
    "hiera_large": 898_083_611,
}
"""Bytes of the published files, which hold also what SAM 2 needs for videos, the same in all."""


@pytest.fixture(scope="module")
def upstream() -> Sam2Model:
    torch.manual_seed(2)
    model = Sam2Model(Sam2Config(**CONFIG)).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    places = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(places)
    return model.requires_grad_(False)


@pytest.fixture
def store(upstream: Sam2Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of weights with the checkpoint "tiny", as the published ones are made.

    Its file is one of a model of videos, and holds the matrix that two modules share once.
    """
    folder = tmp_path / "tiny"
    folder.mkdir()
    tensors = upstream.state_dict() | {"memory_attention.layer_norm.weight": torch.ones(3)}
    del tensors["prompt_encoder.shared_embedding.positional_embedding"]
    save_file(tensors, folder / "model.safetensors")
    video = {**CONFIG, "model_type": "sam2_video", "image_size": SIDE, "num_maskmem": 7}
    (folder / "config.json").write_text(json.dumps(video))
    files = [
        f'{{ name = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in folder.iterdir()
    ]
    (tmp_path / "weights.lock").write_text(
        '[checkpoint.tiny]\nfamily = "sam"\nlicense = "Apache-2.0"\ncommercial = "yes"\n'
        f"files = [{', '.join(files)}]\n"
        f'config = {{ model_type = "sam2", naming = "transformers", image_size = {SIDE} }}\n'
    )
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def run(node: Any, *, precision: str = "fp32", **values: Any) -> Masks:
    pipeline = Pipeline(masks=node(**{name: Input(name, type(v)) for name, v in values.items()}))
    masks = pipeline.run(device="cpu", precision=precision, **values)["masks"]
    assert isinstance(masks, Masks)
    return masks


def processor() -> Sam2Processor:
    return Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}))


@torch.inference_mode()
def expected(
    model: Sam2Model, image: Image, multimask: bool, masks: Any = None, **prompts: Any
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """What transformers gives for the objects of a photo: (N, K, H, W) masks and (N, K) IoU."""
    inputs = processor()(image.to_pil(), return_tensors="pt", **prompts)
    sizes = inputs.pop("original_sizes")
    found = model(**inputs, input_masks=masks, multimask_output=multimask)
    (full,) = processor().post_process_masks(found.pred_masks, sizes)
    return full.numpy(), found.iou_scores[0].numpy()


def best(masks: npt.NDArray[np.bool_], iou: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Of each object the mask with the highest IoU: (N, H, W)."""
    return masks[np.arange(len(masks)), iou.argmax(axis=1)]


def boxes_of(image: Image) -> Boxes:
    height, width = image.image_hw
    corners = np.array([[0.1, 0.2, 0.6, 0.9], [0.3, 0.05, 0.95, 0.5], [0.5, 0.5, 0.7, 0.6]])
    xyxy = (corners * [width, height, width, height]).astype(np.float32)
    return Boxes(xyxy, image.image_hw, ("cat", "dog", "mug"))


def assert_nearly_equal(masks: Masks, others: npt.NDArray[np.bool_]) -> None:
    """All but a ten-thousandth of the pixels agree, and there is something to agree on."""
    assert (masks.array() != others).mean() < 1e-4
    assert 0.01 < others.mean() < 0.99


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("size_wh", SIZES)
def test_a_mask_for_each_box(
    store: Path, upstream: Sam2Model, size_wh: tuple[int, int], multimask: bool
) -> None:
    image = make_image(size_wh)
    boxes = boxes_of(image)
    masks = run(Segment("tiny", multimask), image=image, boxes=boxes)
    prompts = {"input_boxes": [boxes.xyxy.tolist()]}
    assert_nearly_equal(masks, best(*expected(upstream, image, multimask, **prompts)))
    assert masks.boxes == boxes


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("size_wh", SIZES)
def test_one_box_gives_the_very_same_mask(
    store: Path, upstream: Sam2Model, size_wh: tuple[int, int], multimask: bool
) -> None:
    image = make_image(size_wh)
    box = boxes_of(image)[:1]
    masks = run(Segment("tiny", multimask, score="iou"), image=image, boxes=box)
    full, iou = expected(upstream, image, multimask, input_boxes=[box.xyxy.tolist()])
    np.testing.assert_array_equal(masks.array(), best(full, iou))
    np.testing.assert_allclose(masks.boxes.scores, iou.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("multimask", [False, True])
def test_points_on_and_beside_one_object(store: Path, upstream: Sam2Model, multimask: bool) -> None:
    image = make_image((200, 90))
    xy, positive = np.array([[50, 40], [150, 20], [60, 70]], np.float32), [True, False, True]
    points = Points(xy, np.array(positive))
    masks = run(Segment("tiny", multimask), image=image, points=points)
    # Whole numbers are the middles of pixels to transformers, and their corners to visionweave.
    prompts = {"input_points": [[(xy - 0.5).tolist()]], "input_labels": [[[1, 0, 1]]]}
    np.testing.assert_array_equal(
        masks.array(), best(*expected(upstream, image, multimask, **prompts))
    )
    stroke = run(
        Segment("tiny", multimask),
        image=image,
        scribble=Scribble(tuple(each[None] for each in xy), np.array(positive)),
    )
    assert stroke == masks


def test_a_box_with_points_and_a_rough_mask(store: Path, upstream: Sam2Model) -> None:
    image = make_image((60, 75))
    box, points = boxes_of(image)[:1], Points(np.array([[30, 40]], np.float32))
    half = np.zeros((1, 75, 60), bool)
    half[:, :, :30] = True
    rough = Masks.from_array(half, box)
    masks = run(Segment("tiny"), image=image, boxes=box, points=points, masks=rough)
    low = Squashed(image.image_hw, SIDE, SIDE // 4).low_logits(half[0])
    prompts: dict[str, Any] = {"input_boxes": [box.xyxy.tolist()]}
    prompts |= {"input_points": [[[[29.5, 39.5]]]], "input_labels": [[[1]]]}
    full, iou = expected(upstream, image, False, torch.tensor(low)[None, None], **prompts)
    np.testing.assert_array_equal(masks.array(), best(full, iou))
    without = run(Segment("tiny"), image=image, boxes=box, points=points)
    assert without != masks


def test_everything_is_the_masks_of_a_grid_of_points(store: Path, upstream: Sam2Model) -> None:
    image = make_image((200, 90))
    every = Everything("tiny", 3, 0, 0, box_nms_thresh=1)
    masks = run(every, image=image)
    grid = [[x, y] for y in (15, 45, 75) for x in (200 / 6, 100, 1000 / 6)]
    prompts = {"input_points": [[[xy] for xy in grid]], "input_labels": [[[1]] * 9]}
    full, iou = expected(upstream, image, True, **prompts)
    order = np.argsort(-iou.ravel(), kind="stable")
    assert masks.boxes.scores.tolist() == pytest.approx(iou.ravel()[order], abs=1e-5)
    assert_nearly_equal(masks, full.reshape(-1, 90, 200)[order])


class Passes(Observer):
    """The payloads of each forward pass, by method."""

    def __init__(self) -> None:
        self.passes: dict[str, list[int]] = {}

    def batch_finished(self, step: object, method: str, size: int, failed: bool) -> None:
        self.passes.setdefault(method, []).append(size)


def test_photos_are_encoded_once_and_their_neighbours_change_nothing(store: Path) -> None:
    items = []
    for seed, size_wh in enumerate([(90, 60), (40, 130), (128, 128)]):
        image = make_image(size_wh, f"{seed}.jpg", seed)
        points = Points(np.array([[9, 9], [12, 14]], np.float32), objects=[0, 50])
        items.append({"image": image, "boxes": boxes_of(image)[:seed], "points": points})
    node = Segment("tiny")
    pipeline = Pipeline(masks=node(**{n: Input(n, type(v)) for n, v in items[0].items()}))
    seen = Passes()
    options: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
    together = [r["masks"] for r in pipeline.map(items, observers=[seen], **options)]
    alone = [r["masks"] for r in pipeline.map(items, batch=1, **options)]
    assert seen.passes == {"encode": [3], "decode": [7]}
    for masks, single in zip(together, alone, strict=True):
        assert (masks.array() != single.array()).mean() < 1e-4
        assert masks.boxes.ids.tolist() == single.boxes.ids.tolist()
        np.testing.assert_allclose(masks.boxes.scores, single.boxes.scores, atol=1e-5)


def test_low_precision_stays_within_the_tolerance(store: Path) -> None:
    image = make_image((200, 90))
    values: dict[str, Any] = {"image": image, "boxes": boxes_of(image)}
    low, exact = (run(Segment("tiny"), precision=p, **values).array() for p in ("bf16", "fp32"))
    shared, either = (low & exact).sum(axis=(1, 2)), (low | exact).sum(axis=(1, 2))
    assert Segment.tolerance is not None
    assert 0 < 1 - (shared / either).mean() < Segment.tolerance


def test_photos_are_shrunk_until_their_short_side_is_the_squares(store: Path) -> None:
    assert Segment("tiny").fit() == Fit(short=SIDE)
    assert Segment("sam2.1-hiera-small-hf").fit() == Fit(short=1024)


def test_no_boxes_give_no_masks(store: Path) -> None:
    image = make_image((90, 60))
    empty = Boxes.empty(image.image_hw, "photo.jpg")
    assert run(Segment("tiny"), image=image, boxes=empty) == Masks.empty((60, 90), "photo.jpg")


def test_the_published_models_differ_in_size_as_their_files_do() -> None:
    sizes, entry = {}, shipped_lock().checkpoints["sam2.1-hiera-small-hf"]
    for variant in HIERAS:
        changed = dataclasses.replace(entry, config={**entry.config, "variant": variant})
        shape = HubShape.read(changed, "sam2", None)
        assert (shape.image_size, shape.frame((3, 4)).low) == (1024, 256)
        with torch.device("meta"):
            model = Sam2Model(Sam2Config(**shape.fields))
        sizes[variant] = sum(parameter.numel() for parameter in model.parameters())
    for variant, count in sizes.items():
        more = 4 * (count - sizes["hiera_tiny"])
        # A file also has a name of a hundred bytes or two for each tensor.
        assert PUBLISHED[variant] - PUBLISHED["hiera_tiny"] == pytest.approx(more, abs=200_000)


def test_a_file_of_other_sizes_is_refused(store: Path) -> None:
    path = store / "tiny" / "config.json"
    lock = store / "weights.lock"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text().replace('"mlp_dim": 32', '"mlp_dim": 48'))
    lock.write_text(lock.read_text().replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))
    message = "tiny is not a Sam2Model of the sizes given: mismatched keys: mask_decoder"
    with pytest.raises(WeightsError, match=message):
        Segment("tiny").ensure_loaded(vw.Runtime.get("cpu", "fp32"))

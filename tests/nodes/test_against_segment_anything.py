"""SAM's nodes against segment_anything itself, on a small model with random weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import Attention

from visionweave import Boxes, Image, Input, Masks, Pipeline, Points, Runtime
from visionweave.nodes.sam import Everything, Segment
from visionweave.nodes.sam.build_net import build, empty_sam
from visionweave.nodes.sam.frame import Frame
from visionweave.nodes.sam.net import FoldedAttention, FusedAttention, SamNet
from visionweave.nodes.sam.shape import SamShape
from visionweave.testing import make_image

SHAPE = SamShape(
    image_size=128,
    encoder_embed_dim=32,
    encoder_depth=2,
    encoder_num_heads=2,
    encoder_global_attn_indexes=(1,),
    window_size=3,
    mlp_ratio=2.0,
    prompt_embed_dim=32,
    mask_in_chans=8,
    decoder_num_heads=2,
    decoder_mlp_dim=32,
    iou_head_hidden_dim=32,
)
CONFIG = """{ image_size = 128, encoder_embed_dim = 32, encoder_depth = 2, encoder_num_heads = 2,
encoder_global_attn_indexes = [1], window_size = 3, mlp_ratio = 2.0, prompt_embed_dim = 32,
mask_in_chans = 8, decoder_num_heads = 2, decoder_mlp_dim = 32, iou_head_hidden_dim = 32 }"""
CONFIG = CONFIG.replace("\n", " ")

SIZES = [
    pytest.param((200, 90), id="wide"),
    pytest.param((70, 180), id="tall"),
    pytest.param((128, 128), id="as large as the model's square"),
    pytest.param((50, 41), id="smaller than the model's square"),
    pytest.param((400, 399), id="much larger"),
]

Run = Callable[..., Masks]


def random_sam(seed: int = 6) -> Sam:
    """segment_anything's model with weights that make masks with something in and out of them."""
    torch.manual_seed(seed)
    sam = empty_sam(SHAPE).eval()
    for name, parameter in sam.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.25)
    return sam


@pytest.fixture(scope="module")
def sam() -> Sam:
    return random_sam()


@pytest.fixture
def store(sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of weights with the checkpoint "tiny-sam"."""
    path = tmp_path / "tiny-sam" / "model.safetensors"
    path.parent.mkdir()
    save_file(sam.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "weights.lock").write_text(
        '[checkpoint.tiny-sam]\nfamily = "sam"\nlicense = "Apache-2.0"\ncommercial = "yes"\n'
        f'files = [{{ name = "model.safetensors", sha256 = "{digest}" }}]\nconfig = {CONFIG}\n'
    )
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def run(node: Any, precision: str = "fp32", **values: Any) -> Masks:
    """Run a node on values, in a precision."""
    inputs = {name: Input(name, type(value)) for name, value in values.items()}
    pipeline = Pipeline(masks=node(**inputs))
    masks = pipeline.run(device="cpu", precision=precision, **values)["masks"]
    assert isinstance(masks, Masks)
    return masks


def some_boxes(image: Image, count: int = 3) -> Boxes:
    width, height = image.size_wh
    rng = np.random.default_rng(7)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * (width, height)
    return Boxes(corners.reshape(count, 4).astype(np.float32), image.image_hw)


def predictor(sam: Sam, image: Image) -> SamPredictor:
    made = SamPredictor(sam)
    made.set_image(image.pixels)
    return made


@pytest.mark.parametrize("size_wh", SIZES)
def test_a_mask_for_each_box(store: Path, sam: Sam, size_wh: tuple[int, int]) -> None:
    image = make_image(size_wh)
    boxes = some_boxes(image, 5)
    masks = run(Segment("tiny-sam"), image=image, boxes=boxes)
    ask = predictor(sam, image).predict
    expected = [ask(box=box, multimask_output=False)[0][0] for box in boxes.xyxy]
    assert masks == Masks.from_array(np.stack(expected), boxes)
    assert 0 < masks.areas.sum() < masks.array().size


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("size_wh", SIZES)
def test_the_mask_of_several_points(
    store: Path, sam: Sam, size_wh: tuple[int, int], multimask: bool
) -> None:
    image = make_image(size_wh, seed=1)
    width, height = size_wh
    xy = np.array([[0.5, 0.5], [width * 0.3, height * 0.6], [width - 0.5, height - 0.5]])
    points = Points(xy.astype(np.float32), np.array([True, True, False]))
    masks = run(Segment("tiny-sam", multimask=multimask), image=image, points=points)
    # The middle of the first pixel is (0, 0) there, and (0.5, 0.5) here.
    three, iou, _ = predictor(sam, image).predict(
        points.xy - 0.5, points.positive.astype(int), multimask_output=multimask
    )
    best = iou.argmax()
    expected = Masks.from_array(three[best : best + 1], photo="photo.jpg")
    np.testing.assert_allclose(masks.boxes.scores, [np.clip(iou[best], 0, 1)], atol=1e-5)
    assert masks == Masks(expected.counts, expected.boxes.replace(scores=masks.boxes.scores))


@pytest.mark.parametrize("size_wh", SIZES)
def test_boxes_points_and_rough_masks_of_the_same_objects(
    store: Path, sam: Sam, size_wh: tuple[int, int]
) -> None:
    image = make_image(size_wh, seed=2)
    boxes = some_boxes(image, 4).replace(ids=np.array([4, 2, 7, 1], np.int32))
    width, height = size_wh
    ellipse = _ellipse(image.image_hw)
    rough = Masks.from_array(ellipse[None], boxes[1:2])
    points = Points(
        np.array([[width / 2, height / 2], [3, 4], [9, 9]], np.float32),
        np.array([True, False, True]),
        np.array([2, 2, 7], np.int32),
    )
    masks = run(Segment("tiny-sam"), image=image, boxes=boxes, points=points, masks=rough)
    ask = predictor(sam, image).predict
    frame = Frame(image.image_hw, 128, 32)
    asked: list[dict[str, Any]] = [
        {},
        {
            "point_coords": points.xy[:2] - 0.5,
            "point_labels": np.array([1, 0]),
            "mask_input": frame.low_logits(ellipse)[None],
        },
        {"point_coords": points.xy[2:] - 0.5, "point_labels": np.array([1])},
        {},
    ]
    expected = [
        ask(box=box, multimask_output=False, **more)[0][0]
        for box, more in zip(boxes.xyxy, asked, strict=True)
    ]
    assert masks == Masks.from_array(np.stack(expected), boxes)


def _ellipse(image_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    height, width = image_hw
    y, x = np.mgrid[:height, :width] + 0.5
    inside: npt.NDArray[np.bool_] = (2 * x / width - 1) ** 2 + (2 * y / height - 1) ** 2 < 0.5
    return inside


def test_the_published_attention_gives_the_same_masks(store: Path) -> None:
    image = make_image((150, 100))
    boxes = some_boxes(image)
    fast, slow = (Segment("tiny-sam", fast_attention=fast) for fast in (True, False))
    assert run(fast, image=image, boxes=boxes) == run(slow, image=image, boxes=boxes)


@pytest.mark.parametrize("side", [3, 8])
@pytest.mark.parametrize("fast", [FoldedAttention, FusedAttention])
def test_fast_attention_equals_the_published_one(fast: type[torch.nn.Module], side: int) -> None:
    torch.manual_seed(side)
    relative = fast is FoldedAttention
    published = Attention(32, 4, use_rel_pos=relative, input_size=(side, side))
    for parameter in published.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    cells = torch.randn(2, side, side, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fast(published)(cells), published(cells), rtol=1e-5, atol=3e-5)


def test_the_encoder_with_folded_attention_equals_the_published_one(sam: Sam) -> None:
    photo = make_image((128, 96)).pixels
    folded = build("tiny", SHAPE, dict(sam.state_dict()), "cpu")
    published = SamNet(sam, fast_attention=False)
    with torch.inference_mode():
        torch.testing.assert_close(
            folded.encode([photo])[0], published.encode([photo])[0], rtol=1e-5, atol=1e-5
        )


class Spots(torch.nn.Module):
    """In the place of a SAM's three parts: ragged discs around each point, of three sizes.

    A random model finds next to nothing, so that neither filters nor crops have anything to do.
    """

    img_size = 128

    @staticmethod
    def draw(photo: torch.Tensor, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 32, 32) logits and (N, 3) predicted IoU for (N, 2) points in the square."""
        middle = 4 * torch.arange(32, dtype=torch.float64) + 2
        x, y = xy[:, 0, None, None], xy[:, 1, None, None]
        away = torch.hypot(middle - x, middle[:, None] - y)[:, None]
        radius = torch.tensor([9.0, 19.0, 34.0])[:, None, None]
        ragged = 9 * torch.sin(1.1 * middle) * torch.sin(0.9 * middle[:, None]) + 2 * photo
        sizes = torch.tensor([0.0, 2.1, 4.4])
        iou = 0.75 + 0.3 * torch.sin(0.13 * xy[:, :1] + 0.31 * xy[:, 1:] + sizes)
        return (radius - away + ragged).float(), iou.float()


class SpotsEncoder(Spots):
    blocks = ()

    def forward(self, square: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(square.mean(dim=1, keepdim=True), 4)


class SpotsPrompts(Spots):
    def get_dense_pe(self) -> torch.Tensor:
        return torch.zeros(1)

    def forward(self, points: Any, boxes: None, masks: None) -> tuple[torch.Tensor, None]:
        return points[0][:, 0], None


class SpotsDecoder(Spots):
    def forward(self, image_embeddings: torch.Tensor, **rest: Any) -> Any:
        return self.draw(image_embeddings[0, 0], rest["sparse_prompt_embeddings"])


class SpotsNet(SamNet):
    def decode(self, asked: Any, multimask: bool) -> list[Any]:
        drawn = (Spots.draw(each.embedding[0], torch.tensor(each.xy)) for each in asked)
        return [(logits[0].numpy(), iou[0].numpy()) for logits, iou in drawn]


def generate(sam: Sam, image: Image, **settings: Any) -> tuple[Masks, list[float]]:
    found = SamAutomaticMaskGenerator(sam, **settings).generate(image.pixels)
    array = [each["segmentation"] for each in found]
    masks = Masks.from_array(array) if array else Masks.empty(image.image_hw)
    return masks, [each["predicted_iou"] for each in found]


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        pytest.param({}, 15, id="one crop"),
        pytest.param({"min_mask_region_area": 40}, 10, id="without small holes and specks"),
        pytest.param({"crop_n_layers": 1}, 20, id="crops"),
        pytest.param(
            {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_overlap_ratio": 0.2},
            20,
            id="two layers of crops, fewer points",
        ),
        pytest.param({"stability_score_thresh": 0.8}, 5, id="stable ones"),
        pytest.param({"box_nms_thresh": 0.3, "crop_nms_thresh": 0.2}, 5, id="few may overlap"),
        pytest.param({"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}, 20, id="no filter"),
        pytest.param({"pred_iou_thresh": 1.0, "stability_score_thresh": 1.0}, 0, id="none"),
    ],
)
def test_everything_in_a_photo(settings: dict[str, Any], least: int) -> None:
    sam = Sam(SpotsEncoder(), SpotsPrompts(), SpotsDecoder())
    image = make_image((230, 170), seed=3)
    chosen: dict[str, Any] = {
        "points_per_side": 6,
        "pred_iou_thresh": 0.6,
        "stability_score_thresh": 0.5,
        "stability_score_offset": 2.0,
        **settings,
    }
    node = Everything(**chosen)
    node._net, node._shape = SpotsNet(sam, fast_attention=False), SHAPE
    node.runtime = Runtime.get("cpu", "fp32")  # as if it were loaded
    masks = run(node, image=image)
    expected, iou = generate(sam, image, **chosen)
    assert masks == as_found(expected, iou)
    assert len(masks) >= least
    assert (len(masks) == 0) == (least == 0)


def as_found(masks: Masks, iou: list[float]) -> Masks:
    scores = np.array(iou, np.float32).clip(0, 1)
    return Masks(masks.counts, masks.boxes.replace(scores=scores, photo="photo.jpg"))


def test_everything_with_a_model(store: Path, sam: Sam) -> None:
    image = make_image((130, 80), seed=4)
    settings = {"points_per_side": 5, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    masks = run(Everything("tiny-sam", **settings), image=image)
    expected, iou = generate(sam, image, **settings)
    assert masks.counts == expected.counts
    np.testing.assert_allclose(masks.boxes.scores, np.clip(iou, 0, 1), atol=1e-5)
    assert len(masks) > 1

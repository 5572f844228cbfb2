"""SAM's nodes on a small random model: whose masks they give, what they refuse, what runs once."""

from __future__ import annotations

import hashlib
import resource
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor, sam_model_registry

import visionweave as vw
from visionweave import Boxes, Fit, Image, Input, Masks, Observer, Pipeline, Points, Scribble
from visionweave.errors import NodeFailed, WeightsError
from visionweave.nodes.sam import Everything, Segment
from visionweave.nodes.sam.build_net import build, empty_sam
from visionweave.nodes.sam.everything import crop_windows
from visionweave.nodes.sam.frame import Frame
from visionweave.nodes.sam.prompts import along
from visionweave.nodes.sam.shape import SamShape
from visionweave.testing import make_boxes, make_image

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

HW = (60, 90)


def list_checkpoint(folder: Path, name: str, config: str, sha256: str = "0" * 64) -> None:
    """Add an entry to the list of weights in `folder`."""
    with (folder / "weights.lock").open("a") as lock:
        lock.write(
            f'[checkpoint."{name}"]\nfamily = "sam"\nlicense = "Apache-2.0"\ncommercial = "yes"\n'
            f'files = [{{ name = "model.safetensors", url = "https://example.org/model", '
            f'sha256 = "{sha256}" }}]\nconfig = {" ".join(config.splitlines())}\n'
        )


def random_tensors(shape: SamShape = SHAPE) -> dict[str, torch.Tensor]:
    torch.manual_seed(6)
    sam = empty_sam(shape)
    for name, parameter in sam.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.25)
    return dict(sam.state_dict())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of weights with the checkpoint "tiny"."""
    path = tmp_path / "tiny" / "model.safetensors"
    path.parent.mkdir()
    save_file(random_tensors(), path)
    list_checkpoint(tmp_path, "tiny", CONFIG, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


class Passes(Observer):
    """Counts the forward passes, and the payloads in them, by method."""

    def __init__(self) -> None:
        self.passes: dict[str, list[int]] = {}
        self.loads = 0

    def model_loading(self, step: object) -> None:
        self.loads += 1

    def batch_finished(self, step: object, method: str, size: int, failed: bool) -> None:
        assert not failed
        self.passes.setdefault(method, []).append(size)


def pipeline_of(node: Any, **values: Any) -> Pipeline:
    inputs = {name: Input(name, type(value)) for name, value in values.items()}
    return Pipeline(masks=node(**inputs))


def run(node: Any, *, precision: str = "fp32", **values: Any) -> Masks:
    """Run a node on values."""
    pipeline = pipeline_of(node, **values)
    masks = pipeline.run(device="cpu", precision=precision, **values)["masks"]
    assert isinstance(masks, Masks)
    return masks


def passes_of(node: Any, **values: Any) -> dict[str, list[int]]:
    """Run a node on values; return the sizes of its batches by method."""
    seen = Passes()
    pipeline = pipeline_of(node, **values)
    (result,) = pipeline.map([values], device="cpu", precision="fp32", observers=[seen])
    assert result.ok
    return seen.passes


def disagreement(masks: Masks, others: Masks) -> float:
    """1 less the mean intersection over union."""
    one, other = masks.array(), others.array()
    shared, either = (one & other).sum(axis=(1, 2)), (one | other).sum(axis=(1, 2))
    return float(1 - np.where(either > 0, shared / np.maximum(either, 1), 1.0).mean())


def test_masks_keep_whose_they_are(store: Path) -> None:
    boxes = make_boxes(3, HW, ["cat", "dog", "mug"])
    boxes = boxes.replace(ids=np.array([5, 2, 9], np.int32), flags=((), ("truncated",), ()))
    masks = run(Segment("tiny"), image=make_image(HW[::-1]), boxes=boxes)
    assert masks.boxes == boxes
    again = run(Segment("tiny", score="iou"), image=make_image(HW[::-1]), boxes=boxes)
    assert again.counts == masks.counts
    assert again.boxes == boxes.replace(scores=again.boxes.scores)
    assert (again.boxes.scores != boxes.scores).all()


def test_points_and_strokes_speak_of_the_boxes_whose_number_they_bear(store: Path) -> None:
    image = make_image(HW[::-1])
    boxes = make_boxes(2, HW).replace(ids=np.array([7, 3], np.int32))
    points = Points(np.array([[20, 20], [70, 40], [45, 5]], np.float32), objects=[3, 8, 7])
    scribble = Scribble(([[5, 50], [30, 55]],), objects=np.array([4], np.int32))
    node = Segment("tiny")
    masks = run(node, image=image, boxes=boxes, points=points, scribble=scribble)
    assert masks.boxes.ids.tolist() == [7, 3, 8, 4]
    assert masks.boxes[:2] == boxes
    tight = masks.tight_xyxy[2:].tolist()
    assert masks.boxes.xyxy[2:].tolist() == tight
    assert masks.boxes.labels[2:] == ("", "")
    for place, number in enumerate([7, 3, 8, 4]):
        mine = points.objects == number
        alone = {"boxes": boxes[boxes.ids == number]} if number in (7, 3) else {}
        own: dict[str, Any] = {"points": Points(points.xy[mine], objects=points.objects[mine])}
        own = {"scribble": scribble} if number == 4 else own
        (single,) = run(node, image=image, **alone, **own)
        np.testing.assert_array_equal(masks.mask(place), single)


def test_a_stroke_is_the_points_along_it(store: Path) -> None:
    image = make_image(HW[::-1])
    scribble = Scribble(([[10, 10], [50, 10]], [[80, 50]]), np.array([True, False]))
    points = Points(
        np.array([[15, 10], [25, 10], [35, 10], [45, 10], [80, 50]], np.float32),
        np.array([True, True, True, True, False]),
    )
    by_stroke = run(Segment("tiny", stroke_points=4), image=image, scribble=scribble)
    assert by_stroke == run(Segment("tiny"), image=image, points=points)


@pytest.mark.parametrize(
    ("stroke", "width", "expected"),
    [
        pytest.param([[3, 4]], 1, [[3, 4]], id="a dot"),
        pytest.param([[3, 4], [3, 4]], 1, [[3, 4]], id="a dot drawn twice"),
        pytest.param([[0, 0], [8, 0]], 1, [[1, 0], [3, 0], [5, 0], [7, 0]], id="a line"),
        pytest.param([[0, 0], [8, 0]], 5, [[2, 0], [6, 0]], id="a wide pen"),
        pytest.param([[0, 0], [6, 0], [6, 2]], 1, [[1, 0], [3, 0], [5, 0], [6, 1]], id="a corner"),
    ],
)
def test_points_along_a_stroke(stroke: Any, width: float, expected: Any) -> None:
    np.testing.assert_allclose(along(stroke, 4, width), expected)


def half(image_hw: tuple[int, int] = HW) -> npt.NDArray[np.bool_]:
    """(1, H, W): the left half of a photo."""
    mask = np.zeros((1, *image_hw), bool)
    mask[:, :, : image_hw[1] // 2] = True
    return mask


def test_a_rough_mask_is_refined_within_its_box(store: Path) -> None:
    image, node = make_image(HW[::-1]), Segment("tiny")
    boxes = make_boxes(1, HW, ["cat"])
    rough = Masks.from_array(half(), boxes)
    refined = run(node, image=image, masks=rough)
    assert refined.boxes == boxes
    assert refined == run(node, image=image, boxes=boxes, masks=rough)
    assert refined != run(node, image=image, boxes=boxes)
    assert refined != rough


def test_a_rough_mask_with_an_empty_box_is_refined_within_its_tight_box(store: Path) -> None:
    image, node = make_image(HW[::-1]), Segment("tiny")
    nowhere = Boxes(np.zeros((1, 4), np.float32), HW)
    tight = Masks.from_array(half(), photo="photo.jpg")
    refined = run(node, image=image, masks=Masks(tight.counts, nowhere))
    assert refined.counts == run(node, image=image, masks=tight).counts


def test_an_empty_rough_mask_leaves_the_box_to_say_where(store: Path) -> None:
    image, node = make_image(HW[::-1]), Segment("tiny")
    boxes = make_boxes(2, HW)
    boxes = boxes.replace(xyxy=np.where([[True], [False]], boxes.xyxy, 0).astype(np.float32))
    masks = run(node, image=image, masks=Masks.from_array(np.zeros((2, *HW), bool), boxes))
    assert masks.mask(0).tolist() == run(node, image=image, boxes=boxes[:1]).mask(0).tolist()
    assert masks.areas[1] == 0  # neither box nor mask: there is nothing to find
    assert masks.boxes == boxes


OUTSIDE = [[50, 50, 50, 50], [-30, 5, -10, 40], [90, 10, 120, 40], [20, 60, 40, 80], [9, 9, 9, 50]]


def test_a_box_without_area_in_the_photo_has_an_empty_mask(store: Path) -> None:
    image, scores = make_image(HW[::-1]), np.full(5, 0.75, np.float32)
    boxes = Boxes(np.array(OUTSIDE, np.float32), HW, ["cat"] * 5, scores, photo="photo.jpg")
    masks = run(Segment("tiny"), image=image, boxes=boxes)
    assert masks == Masks.from_array(np.zeros((5, *HW), bool), boxes)
    assert "decode" not in passes_of(Segment("tiny"), image=image, boxes=boxes)
    by_iou = run(Segment("tiny", score="iou"), image=image, boxes=boxes)
    assert by_iou.boxes == boxes.replace(scores=np.zeros(5, np.float32))


def test_a_box_without_area_in_the_photo_leaves_the_rest_to_say_where(store: Path) -> None:
    image, node = make_image(HW[::-1]), Segment("tiny")
    points = Points(np.array([[40, 30]], np.float32), objects=[0])
    beside = Points(np.array([[40, 30]], np.float32), [False], [0])
    rough = Masks.from_array(half(), photo="photo.jpg")
    for xyxy in OUTSIDE:
        boxes = Boxes(np.array([xyxy], np.float32), HW, photo="photo.jpg")
        by_points = run(node, image=image, boxes=boxes, points=points)
        assert by_points.counts == run(node, image=image, points=points).counts
        refined = run(node, image=image, masks=Masks(rough.counts, boxes))
        assert refined.counts == run(node, image=image, masks=rough).counts
        assert run(node, image=image, boxes=boxes, points=beside).areas.tolist() == [0]


@pytest.mark.parametrize(
    ("hw", "settings"),
    [
        pytest.param((1, 1), {"crop_n_layers": 1}, id="one pixel"),
        pytest.param((3, 3), {"crop_n_layers": 2}, id="nine pixels"),
        pytest.param((6, 900), {"crop_n_layers": 3}, id="a strip"),
        pytest.param((21, 21), {"crop_n_layers": 4, "crop_overlap_ratio": 0.0}, id="no overlap"),
    ],
)
def test_everything_is_searched_in_a_photo_too_small_for_its_crops(
    store: Path, hw: tuple[int, int], settings: dict[str, Any]
) -> None:
    good = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    node = Everything("tiny", points_per_side=1, **good, **settings)
    masks = run(node, image=make_image(hw[::-1]))
    assert masks.image_hw == hw
    layers = settings["crop_n_layers"]
    windows = crop_windows(hw, layers, node.crop_overlap_ratio)
    for layer in range(layers + 1):
        covered = np.zeros(hw, bool)
        for x1, y1, x2, y2 in (window for number, window in windows if number == layer):
            assert 0 <= x1 < x2
            assert 0 <= y1 < y2
            covered[y1:y2, x1:x2] = True
        assert covered.all()


def test_no_objects_give_no_masks_without_a_forward_pass(store: Path) -> None:
    image, boxes = make_image(HW[::-1]), Boxes.empty(HW, "photo.jpg")
    assert run(Segment("tiny"), image=image, boxes=boxes) == Masks.empty(HW, "photo.jpg")
    assert passes_of(Segment("tiny"), image=image, boxes=boxes) == {}


def test_a_photo_is_encoded_once_whatever_the_number_of_prompts(store: Path) -> None:
    image, boxes = make_image(HW[::-1]), make_boxes(20, HW)
    points = Points(np.array([[5, 5], [50, 40]], np.float32), objects=[3, 40])
    passes = passes_of(Segment("tiny"), image=image, boxes=boxes, points=points)
    assert passes == {"encode": [1], "decode": [16, 5]}
    passes = passes_of(Everything("tiny", points_per_side=5), image=image)
    assert passes == {"encode": [1], "decode": [16, 9]}
    passes = passes_of(Everything("tiny", points_per_side=1, crop_n_layers=1), image=image)
    assert sum(passes["encode"]) == 5


def test_two_nodes_share_one_network(store: Path) -> None:
    photo = Input("photo", Image)
    found = Everything("tiny", points_per_side=2)(photo)
    nodes = Segment("tiny"), Segment("tiny", multimask=True), Segment("tiny", fast_attention=False)
    runtime = vw.Runtime.get("cpu", "fp32")
    for node in nodes:
        node.ensure_loaded(runtime)
    assert nodes[0]._net is nodes[1]._net
    assert nodes[0]._net is not nodes[2]._net
    nodes[0].unload()
    assert nodes[0]._net is None
    pipeline = Pipeline(found=found, masks=nodes[0](photo, masks=found))
    result = pipeline.run(photo=make_image(HW[::-1]), device="cpu", precision="fp32")
    assert result["found"].boxes.ids.tolist() == result["masks"].boxes.ids.tolist()


def test_neighbours_of_other_sizes_change_nothing(store: Path) -> None:
    items = []
    for seed, size_wh in enumerate([(90, 60), (40, 130), (200, 200), (128, 96), (33, 20)]):
        image = make_image(size_wh, f"{seed}.jpg", seed)
        count = (4, 0, 1, 7, 2)[seed]
        points = Points(np.array([[9, 9], [12, 14]], np.float32), objects=[0, 50])
        items.append({"image": image, "boxes": make_boxes(count, image.image_hw), "points": points})
    pipeline = pipeline_of(Segment("tiny"), **items[0])
    together = [r["masks"] for r in pipeline.map(items, device="cpu", precision="fp32")]
    alone = [r["masks"] for r in pipeline.map(items, batch=1, device="cpu", precision="fp32")]
    for masks, single in zip(together, alone, strict=True):
        # The order of sums differs with the size of a batch: to a few pixels in ten thousand.
        assert disagreement(masks, single) < 1e-3
        assert masks.boxes.ids.tolist() == single.boxes.ids.tolist()
        np.testing.assert_allclose(masks.boxes.scores, single.boxes.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({}, "expected boxes, points, a scribble or masks; got none", id="no prompt"),
        pytest.param(
            {"boxes": make_boxes(1, (10, 10))},
            "Boxes must be of the image they are used with",
            id="boxes of another photo",
        ),
        pytest.param(
            {"masks": Masks.empty((10, 10))},
            "Masks must be of the image they are used with",
            id="masks of another photo",
        ),
        pytest.param(
            {"points": Points(np.ones((1, 2), np.float32), objects=[-1])},
            "the objects of points and strokes are 0 or above; got -1",
            id="a negative number",
        ),
        pytest.param(
            {
                "boxes": make_boxes(2, HW),
                "points": Points(np.ones((1, 2), np.float32), np.array([False]), objects=[5]),
            },
            "object 5 has negative points alone, and neither box nor mask",
            id="negative points alone",
        ),
    ],
)
def test_prompts_that_cannot_be_answered(store: Path, values: Any, message: str) -> None:
    with pytest.raises(NodeFailed, match=message):
        run(Segment("tiny"), image=make_image(HW[::-1]), **values)


def test_negative_points_alone_may_speak_of_a_box(store: Path) -> None:
    points = Points(np.array([[20, 30]], np.float32), np.array([False]))
    boxes = make_boxes(1, HW)
    masks = run(Segment("tiny"), image=make_image(HW[::-1]), boxes=boxes, points=points)
    assert masks.boxes == boxes


def test_a_higher_threshold_gives_smaller_masks(store: Path) -> None:
    image, boxes = make_image(HW[::-1]), make_boxes(3, HW)
    thresholds = (-1.0, 0.0, 1.0)
    sizes = [run(Segment("tiny", mask_threshold=t), image=image, boxes=boxes) for t in thresholds]
    areas = [masks.areas.tolist() for masks in sizes]
    assert all(a >= b >= c for a, b, c in zip(*areas, strict=True))
    assert areas[0] != areas[2]


def test_large_logits_are_held_one_at_a_time(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0
    full_logits = Frame.full_logits

    def watched(self: Frame, low: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        nonlocal most
        logits = full_logits(self, low)
        alive.append(weakref.ref(logits))
        most = max(most, sum(ref() is not None for ref in alive))
        return logits

    monkeypatch.setattr(Frame, "full_logits", watched)
    run(Segment("tiny"), image=make_image((400, 300)), boxes=make_boxes(12, (300, 400)))
    assert (len(alive), most) == (12, 2)  # the one before goes when its name is taken


def test_low_precision_stays_within_the_tolerance(store: Path) -> None:
    image, boxes = make_image(HW[::-1]), make_boxes(12, HW)
    points = Points(np.array([[9, 9], [70, 40]], np.float32), objects=[20, 30])
    low, exact = (
        run(Segment("tiny"), image=image, boxes=boxes, points=points, precision=precision)
        for precision in ("bf16", "fp32")
    )
    assert Segment.tolerance is not None
    assert 0 < disagreement(low, exact) < Segment.tolerance


@pytest.mark.parametrize("size_wh", [(90, 60), (1000, 300), (40, 41)])
def test_a_rough_mask_comes_back_from_the_models_square(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    frame = Frame((height, width), 128, 32)
    y, x = np.mgrid[:height, :width] + 0.5
    disc = (2 * x / width - 1) ** 2 + (2 * y / height - 1) ** 2 < 0.6
    low = frame.low_logits(disc)
    assert low.shape == (32, 32)
    scaled_height, scaled_width = frame.scaled_hw
    assert (low[-(-scaled_height // 4) :] < -6).all()  # the padding is no object
    assert (low[:, -(-scaled_width // 4) :] < -6).all()
    back = frame.full_logits(low) > 0
    assert (back & disc).sum() / (back | disc).sum() > 0.9


def test_photos_are_decoded_as_small_as_the_models_square_allows(store: Path) -> None:
    assert Segment("tiny").fit() == Fit(long=128)
    assert Everything("tiny").fit() == Fit(long=128)
    assert Everything("tiny", crop_n_layers=1).fit() is None
    assert Segment("base").fit() == Fit(long=1024)
    assert Segment("no such model").fit() is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param("absent", "fetch it with: visionweave weights pull absent", id="not here"),
        pytest.param("no-such", "there is no checkpoint 'no-such' for sam", id="not listed"),
        pytest.param("strange", "got variant 'vit_x'", id="unknown variant"),
        pytest.param("odd", "got encoder_heads", id="unknown size"),
        pytest.param("wider", "wider is not a SAM of the sizes", id="other sizes"),
    ],
)
def test_a_model_that_cannot_be_loaded(store: Path, model: str, message: str) -> None:
    sha256 = hashlib.sha256((store / "tiny" / "model.safetensors").read_bytes()).hexdigest()
    list_checkpoint(store, "absent", CONFIG)
    list_checkpoint(store, "strange", '{ variant = "vit_x" }')
    list_checkpoint(store, "odd", "{ encoder_heads = 3 }")
    list_checkpoint(store, "wider", CONFIG.replace("mlp_ratio = 2.0", "mlp_ratio = 3.0"), sha256)
    (store / "wider").symlink_to(store / "tiny")
    with pytest.raises(WeightsError, match=message):
        Segment(model).ensure_loaded(vw.Runtime.get("cpu", "fp32"))


@pytest.mark.parametrize("variant", ["vit_b", "vit_l", "vit_h"])
def test_the_published_models_have_their_names_and_shapes(variant: str) -> None:
    shape = SamShape.from_config({"variant": variant, "library": "segment_anything"}, "sam")
    with torch.device("meta"):
        ours, published = empty_sam(shape), sam_model_registry[variant]()
    sizes = [{n: t.shape for n, t in sam.state_dict().items()} for sam in (ours, published)]
    assert sizes[0] == sizes[1]
    assert (shape.image_size, shape.low_size) == (1024, 256)


@pytest.mark.slow
def test_at_full_size(capsys: pytest.CaptureFixture[str]) -> None:
    """ViT-B with random weights: equal to SamPredictor; prints what it took."""
    shape, image = SamShape(), make_image((1280, 960))
    torch.manual_seed(0)
    with torch.device("meta"):
        sam = empty_sam(shape)
    tensors = {n: torch.randn(t.shape) * 0.03 for n, t in sam.state_dict().items()}
    node, took = Segment(), {}
    node._shape = shape
    node.runtime = vw.Runtime.get("cpu", "fp32")
    boxes = make_boxes(16, image.image_hw)
    for label, fast in (("folded", True), ("published", False)):
        node._net = build("sam", shape, dict(tensors), "cpu", fast)
        started = time.perf_counter()
        masks = run(node, image=image, boxes=boxes)
        took[f"16 boxes, {label} attention"] = time.perf_counter() - started
    predictor = SamPredictor(node._net.sam)
    predictor.set_image(image.pixels)
    expected = [predictor.predict(box=b, multimask_output=False)[0][0] for b in boxes.xyxy]
    assert disagreement(masks, Masks.from_array(np.stack(expected), boxes)) < 1e-3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        print("\nViT-B:", ", ".join(f"{what} {s:.1f} s" for what, s in took.items()), end="")
        print(f"; peak {peak:.1f} GiB")

"""sam.segment with an HQ-SAM checkpoint against transformers' SamHQModel, small and random.

The checkpoint is in the names of the published files, which transformers' own are mapped from.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SamHQConfig, SamHQModel, SamHQProcessor
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from visionweave import Boxes, Image, Input, Masks, Pipeline
from visionweave.nodes.sam import Segment
from visionweave.nodes.sam.build_net import empty_sam
from visionweave.nodes.sam.shape import SamShape
from visionweave.testing import make_image

SHAPE = SamShape(
    image_size=128,
    encoder_embed_dim=48,
    encoder_depth=3,
    encoder_num_heads=2,
    encoder_global_attn_indexes=(1, 2),
    window_size=3,
    mlp_ratio=2.0,
    prompt_embed_dim=32,
    mask_in_chans=8,
    decoder_num_heads=2,
    decoder_mlp_dim=32,
    iou_head_hidden_dim=32,
    hq=True,
)
CONFIG = """{ variant = "hq_vit_b", library = "transformers", image_size = 128,
encoder_embed_dim = 48, encoder_depth = 3, encoder_num_heads = 2,
encoder_global_attn_indexes = [1, 2], window_size = 3, mlp_ratio = 2.0, prompt_embed_dim = 32,
mask_in_chans = 8, decoder_num_heads = 2, decoder_mlp_dim = 32, iou_head_hidden_dim = 32 }"""

NAMES = {
    r"^image_encoder\.": "vision_encoder.",
    r"(\.norm)(\d)": r".layer_norm\2",
    r"\.blocks\.": ".layers.",
    r"neck\.0": "neck.conv1",
    r"neck\.1": "neck.layer_norm1",
    r"neck\.2": "neck.conv2",
    r"neck\.3": "neck.layer_norm2",
    r"patch_embed\.proj": "patch_embed.projection",
    r"norm_final_attn": "layer_norm_final_attn",
    r"mask_downscaling\.0": "mask_embed.conv1",
    r"mask_downscaling\.1": "mask_embed.layer_norm1",
    r"mask_downscaling\.3": "mask_embed.conv2",
    r"mask_downscaling\.4": "mask_embed.layer_norm2",
    r"mask_downscaling\.6": "mask_embed.conv3",
    r"point_embeddings": "point_embed",
    r"pe_layer\.positional_encoding_gaussian_matrix": "shared_embedding.positional_embedding",
    r"output_upscaling\.0": "upscale_conv1",
    r"output_upscaling\.1": "upscale_layer_norm",
    r"output_upscaling\.3": "upscale_conv2",
    r"hf_token": "hq_token",
    r"hf_mlp": "hq_mask_mlp",
    r"compress_vit_feat\.0": "compress_vit_conv1",
    r"compress_vit_feat\.1": "compress_vit_norm",
    r"compress_vit_feat\.3": "compress_vit_conv2",
    r"embedding_encoder\.0": "encoder_conv1",
    r"embedding_encoder\.1": "encoder_norm",
    r"embedding_encoder\.3": "encoder_conv2",
    r"embedding_maskfeature\.0": "mask_conv1",
    r"embedding_maskfeature\.1": "mask_norm",
    r"embedding_maskfeature\.3": "mask_conv2",
    r"(head|mlps\.\d|hq_mask_mlp)\.layers\.0": r"\1.proj_in",
    r"(head|mlps\.\d|hq_mask_mlp)\.layers\.1": r"\1.layers.0",
    r"(head|mlps\.\d|hq_mask_mlp)\.layers\.2": r"\1.proj_out",
}


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under transformers' names."""
    named = {}
    for name, tensor in tensors.items():
        for old, new in NAMES.items():
            name = re.sub(old, new, name)
        named[name] = tensor
    places = "shared_embedding.positional_embedding"
    named["shared_image_embedding.positional_embedding"] = named[f"prompt_encoder.{places}"]
    return named


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    sam = empty_sam(SHAPE)
    for name, parameter in sam.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.25)
    return dict(sam.state_dict())


@pytest.fixture
def store(
    tensors: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A store of weights with the checkpoint "tiny-hq"."""
    path = tmp_path / "tiny-hq" / "tiny.pth"
    path.parent.mkdir()
    torch.save(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "weights.lock").write_text(
        '[checkpoint.tiny-hq]\nfamily = "sam"\nlicense = "Apache-2.0"\ncommercial = "yes"\n'
        f'files = [{{ name = "tiny.pth", sha256 = "{digest}" }}]\n'
        f"config = {CONFIG}\n".replace(",\n", ", ")
    )
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def upstream(tensors: dict[str, torch.Tensor]) -> SamHQModel:
    sizes: dict[str, Any] = {"image_size": 128, "patch_size": 16}
    decoder = {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "vit_dim": 48,
        "layer_norm_eps": 1e-5,
    }
    config = SamHQConfig(
        vision_config={
            **sizes,
            "hidden_size": 48,
            "output_channels": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "global_attn_indexes": [1, 2],
            "window_size": 3,
            "mlp_ratio": 2.0,
            "mlp_dim": 96,
            "num_pos_feats": 16,
        },
        prompt_encoder_config={
            **sizes,
            "hidden_size": 32,
            "mask_input_channels": 8,
            "image_embedding_size": 8,
        },
        mask_decoder_config={**decoder, "iou_head_hidden_dim": 32},
    )
    model = SamHQModel(config).eval()
    model.load_state_dict(renamed(tensors))
    mend(model)
    return model


def mend(model: SamHQModel) -> None:
    """Have transformers' decoder paint on the cells that its transformer returns.

    transformers 5.23 paints on those that went in (it binds the result to `iou_token_out` and
    never reads it), unlike the code of HQ-SAM's authors, in which the weights were trained.
    """
    decoder, attended = model.mask_decoder, []

    def keep(module: Any, args: Any, output: Any) -> None:
        attended[:] = [output[1]]

    def paint_on_kept(module: Any, args: Any) -> Any:
        (cells,) = args
        return (attended[0].flatten(0, 1).transpose(1, 2).reshape(cells.shape),)

    decoder.transformer.register_forward_hook(keep)
    decoder.upscale_conv1.register_forward_pre_hook(paint_on_kept)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("size_wh", [(200, 90), (60, 75)], ids=["wide", "small and tall"])
def test_a_mask_for_each_box(
    store: Path, tensors: dict[str, torch.Tensor], size_wh: tuple[int, int], multimask: bool
) -> None:
    image = make_image(size_wh)
    width, height = size_wh
    corners = np.array([[0.1, 0.2, 0.6, 0.9], [0.3, 0.05, 0.95, 0.5], [0.5, 0.5, 0.7, 0.6]])
    boxes = Boxes((corners * [width, height, width, height]).astype(np.float32), image.image_hw)
    masks = segment(image, boxes, multimask)
    sizes = {"size": {"longest_edge": 128}, "pad_size": {"height": 128, "width": 128}}
    processor = SamHQProcessor(SamImageProcessorPil(**sizes))
    inputs = processor(image.to_pil(), input_boxes=[boxes.xyxy.tolist()], return_tensors="pt")
    with torch.inference_mode():
        found = upstream(tensors)(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"].float(),
            multimask_output=multimask,
        )
    full = processor.image_processor.post_process_masks(
        found.pred_masks,
        inputs["original_sizes"],
        inputs["reshaped_input_sizes"],
        pad_size={"height": 128, "width": 128},
    )[0]
    best = found.iou_scores[0].argmax(dim=1)
    expected = torch.stack([each[place] for each, place in zip(full, best, strict=True)])
    assert_nearly_equal(masks, Masks.from_array(expected.numpy(), boxes))


def segment(image: Image, boxes: Boxes, multimask: bool) -> Masks:
    node = Segment("tiny-hq", multimask=multimask)
    pipeline = Pipeline(masks=node(Input("image", Image), Input("boxes", Boxes)))
    masks = pipeline.run(device="cpu", precision="fp32", image=image, boxes=boxes)["masks"]
    assert isinstance(masks, Masks)
    return masks


def assert_nearly_equal(masks: Masks, expected: Masks) -> None:
    """All but a ten-thousandth of the pixels agree; transformers sums in another order."""
    assert (masks.array() != expected.array()).mean() < 1e-4
    assert 0.01 < masks.array().mean() < 0.99
    assert masks.boxes == expected.boxes

"""SAM 2's network for single photos: transformers' modules, run on batches of photos and prompts.

Paper: Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos", arXiv:2408.00714.
Imported by `load` alone, because it needs torch. Shapes as in `_sam_net`; a photo's embedding is
three: (C / 8, 4 h, 4 w), (C / 4, 2 h, 2 w) and (C, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._regions import Pixels
from .hub import HubShape, build_model, read_state
from .net import points_of, stacked
from .prompts import Answer, Asked, answered

__all__ = ["Sam2Net", "Sight", "build"]


class Sight(nn.Module):
    """Normalises photos as transformers does.

    Args:
        shape: of the model, for its mean and standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: HubShape) -> None:
        super().__init__()
        for name, values in (("mean", shape.mean), ("std", shape.std)):
            column = torch.tensor(values).view(3, 1, 1) * 255
            self.register_buffer(name, column, persistent=False)

    def forward(self, photos: Sequence[Pixels]) -> Tensor:
        """Return (B, 3, S, S) of photos (S, S, 3) each."""
        batch = torch.stack([torch.tensor(pixels) for pixels in photos])
        result: Tensor = (batch.to(self.mean.device).permute(0, 3, 1, 2) - self.mean) / self.std
        return result.contiguous()


class Sam2Net(nn.Module):
    """SAM 2 in two parts: `encode` for photos, `decode` for prompts.

    Args:
        model: transformers' Sam2Model.
        shape: its sizes.
    """

    places: Tensor

    def __init__(self, model: Any, shape: HubShape) -> None:
        super().__init__()
        self.model, self.sight = model, Sight(shape)
        places = model.get_image_wide_positional_embeddings()
        self.register_buffer("places", places, persistent=False)

    def encode(self, photos: Sequence[Pixels]) -> list[tuple[Tensor, ...]]:
        """Return the embedding of each photo.

        Args:
            photos: (S, S, 3) RGB, squashed to the square.
        """
        levels = self.model.get_image_embeddings(self.sight(photos))
        return list(zip(*levels, strict=True))

    def decode(self, asked: Sequence[Asked], multimask: bool) -> list[Answer]:
        """Answer prompts, each about its own photo: with three masks, or with one.

        The one is the best of the three where the single mask is unstable, as published.
        """
        return answered(asked, lambda same: self._answer(same, multimask))

    def _answer(self, asked: list[Asked], multimask: bool) -> list[Answer]:
        device: torch.device = self.places.device
        model: Any = self.model
        xy, signs = points_of(asked, device) or (None, None)
        box = stacked([each.box for each in asked], device)
        # In bf16 a point would lie a pixel or more off: eight bits are too few for its place.
        with torch.autocast(device.type, enabled=False):
            sparse, dense = model.prompt_encoder(
                input_points=None if xy is None else xy[:, None],
                input_labels=None if signs is None else signs[:, None],
                input_boxes=None if box is None else box[:, None],
                input_masks=stacked([each.logits for each in asked], device),
            )
        embeddings = [each.embedding for each in asked]
        fine, finer, coarse = (torch.stack(level) for level in zip(*embeddings, strict=True))
        logits, iou, _, _ = model.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self.places.expand(len(asked), -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=[fine, finer],
        )
        pairs = zip(logits[:, 0].float().cpu(), iou[:, 0].float().cpu(), strict=True)
        return [(masks.numpy(), scores.numpy()) for masks, scores in pairs]


def build(name: str, shape: HubShape, files: Mapping[str, Path], device: str) -> Sam2Net:
    """Return the network with the weights of the checkpoint called `name`, ready to run.

    Raises:
        WeightsError: its file is not that of a SAM 2 of this shape.
    """
    return Sam2Net(build_model(name, shape, read_state(files)), shape).to(device).eval()

"""Grounding DINO's forward pass, in three parts: a photo's own, a prompt's own, and the rest.

The layers are transformers'. Its own forward pass would run the image backbone once for every
prompt and the text encoder once for every photo, knows the separators of one vocabulary only, and
computes coordinates in the precision of the features, in which bf16 puts them a pixel off.
Here coordinates and the two heads are fp32 in every precision.

Letters: B photos · C channels · h w cells of a feature map · N cells of all maps · T tokens ·
Q queries, the candidates for boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .prompts import Prompt

Scene = tuple[Tensor, ...]
"""The feature maps of a photo, (C, h, w) fp32 each, from fine to coarse."""


@dataclass(frozen=True, eq=False)
class Words:
    """What the text encoder makes of a prompt.

    Attributes:
        features: (T, C) fp32.
        places: (T,) int64, the place of each token within its part.
    """

    features: Tensor
    places: Tensor


class Detector:
    """A Grounding DINO that is given photos of one size at a time, so that it never pads one.

    Args:
        network: transformers' model with its weights, on its device.
        mean, std: of the colours in [0, 1], R G B, that the weights were trained with.
    """

    def __init__(self, network: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.network = network.eval()
        self._mean, self._std = mean, std

    def look(self, pixels: Tensor) -> list[Scene]:
        """Return the feature maps of photos, (B, H, W, 3) uint8, all of one size."""
        maps = self._project(self._features(pixels))
        return [tuple(level[photo].float() for level in maps) for photo in range(len(pixels))]

    def _features(self, pixels: Tensor) -> list[Tensor]:
        """What the image backbone makes of (B, H, W, 3) uint8: maps (B, own C, h, w)."""
        photos = normalised(pixels.to(self.network.device), self._mean, self._std)
        return list(self.network.model.backbone.conv_encoder.model(photos).feature_maps)

    def _project(self, found: list[Tensor]) -> list[Tensor]:
        """From the backbone's maps to those of the network, (B, C, h, w)."""
        projections = list(self.network.model.input_proj_vision)
        maps = [project(source) for project, source in zip(projections, found, strict=False)]
        coarse = found[-1]  # maps coarser than the backbone's are each made of the one before
        for project in projections[len(found) :]:
            coarse = project(coarse)
            maps.append(coarse)
        return maps

    def read(self, prompt: Prompt) -> Words:
        """Return the text features of a prompt; no part of it sees another."""
        model, device = self.network.model, self.network.device
        ids = torch.tensor([prompt.ids], device=device)
        places = torch.tensor([prompt.places], device=device)
        encoded = model.text_backbone(
            input_ids=ids,
            attention_mask=_same_part(places)[:, None],
            token_type_ids=torch.zeros_like(ids),
            position_ids=places,
        )
        features = model.text_projection(encoded.last_hidden_state)
        return Words(features[0].float(), places[0])

    def detect(self, scenes: list[Scene], words: list[Words]) -> tuple[Tensor, Tensor]:
        """Look for the words of each of B prompts in the scene beside it, all of one size.

        Returns:
            logits: (B, Q, T) fp32, how well each query fits each token; -inf beyond a prompt's end.
            boxes: (B, Q, 4) fp32, the centre's x and y, width and height, as parts of the photo.
        """
        maps = [torch.stack(level) for level in zip(*scenes, strict=True)]
        text = pad_sequence([each.features for each in words], batch_first=True)
        # Each token of the padding is a part of its own, at place 0.
        places = pad_sequence([each.places for each in words], batch_first=True)
        lengths = [[len(each.places)] for each in words]
        is_token = torch.arange(text.shape[1]) < torch.tensor(lengths)
        is_token = is_token.to(text.device)
        geometry = geometry_of(maps)
        vision, text = self._encode(maps, text, places, is_token, geometry)
        fit, moved = self._propose(vision, text, is_token, geometry)
        start = self._best(fit, moved)
        decoded = self._decode(start, vision, text, is_token, geometry)
        return self._answer(decoded, -1, start, text, is_token)

    def _encode(
        self,
        maps: list[Tensor],
        text: Tensor,
        places: Tensor,
        is_token: Tensor,
        geometry: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:
        """Let photos and texts see each other; return (B, N, C) and (B, T, C)."""
        vision = torch.cat([level.flatten(2).mT for level in maps], dim=1)
        encoded = self.network.model.encoder(
            vision_features=vision,
            vision_attention_mask=_nowhere(vision),
            vision_position_embedding=self._positions(maps),
            text_features=text,
            text_attention_mask=~is_token,
            text_self_attention_masks=~_same_part(places),
            text_position_ids=places,
            **geometry,
        )
        return encoded.last_hidden_state_vision, encoded.last_hidden_state_text

    def _positions(self, maps: list[Tensor]) -> Tensor:
        """Where each cell is, and in which map, as (B, N, C) features."""
        model = self.network.model
        codes = []
        for level, features in enumerate(maps):
            everywhere = torch.ones_like(features[:, 0], dtype=torch.bool)
            code = model.backbone.position_embedding(features, everywhere).flatten(2).mT
            codes.append(code + model.level_embed[level])
        return torch.cat(codes, dim=1)

    def _propose(
        self, vision: Tensor, text: Tensor, is_token: Tensor, geometry: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Return what each cell proposes: its fit to each token, (B, N, T), and a box, (B, N, 4).

        Boxes here are logits of what `detect` returns.
        """
        model = self.network.model
        with _exact(vision):
            cells, places = model.generate_encoder_output_proposals(
                vision, _nowhere(vision), geometry["spatial_shapes_list"]
            )
            fit = model.encoder_output_class_embed(cells, text, is_token)[:, :, : text.shape[1]]
            return fit, model.encoder_output_bbox_embed(cells) + places

    def _best(self, fit: Tensor, moved: Tensor) -> Tensor:
        """Return for each query the place to start from, (B, Q, 4): the cells that fit best."""
        count = self.network.config.num_queries
        best = fit.amax(-1).topk(min(count, fit.shape[1])).indices
        # A photo of a few pixels has fewer cells than there are queries: once more around.
        best = best[:, torch.arange(count, device=best.device) % best.shape[1], None]
        return moved.gather(1, best.expand(-1, -1, 4)).sigmoid()

    def _decode(
        self,
        start: Tensor,
        vision: Tensor,
        text: Tensor,
        is_token: Tensor,
        geometry: dict[str, Any],
        **more: Any,
    ) -> Any:
        """Refine the queries layer by layer; return the library's record of it."""
        queries = self.network.model.query_position_embeddings.weight
        return self.network.model.decoder(
            inputs_embeds=queries.expand(len(start), -1, -1),
            vision_encoder_hidden_states=vision,
            text_encoder_hidden_states=text,
            text_encoder_attention_mask=~is_token,
            reference_points=start,
            **geometry,
            **more,
        )

    def _answer(
        self, decoded: Any, layer: int, start: Tensor, text: Tensor, is_token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return logits and boxes of a layer; its boxes refine those of the one before."""
        hidden = decoded.intermediate_hidden_states[:, layer]
        references = torch.cat([start[:, None], decoded.intermediate_reference_points[:, :-1]], 1)
        with _exact(hidden):
            logits = self.network.class_embed[layer](hidden, text, is_token)
            moved = self.network.bbox_embed[layer](hidden)
            boxes = moved + torch.logit(references[:, layer], eps=1e-5)
            return logits[:, :, : text.shape[1]], boxes.sigmoid()


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn (B, H, W, 3) uint8 into (B, 3, H, W) fp32 with the given mean and spread of colours."""
    photos = pixels.permute(0, 3, 1, 2).float() / 255
    shift, spread = (photos.new_tensor(each)[:, None, None] for each in (mean, std))
    return (photos - shift) / spread


def _same_part(places: Tensor) -> Tensor:
    """(B, T, T) bool: which tokens are in one part; a part begins where its places do."""
    part = (places == 0).cumsum(1)
    return part[:, :, None] == part[:, None, :]


def geometry_of(maps: list[Tensor]) -> dict[str, Any]:
    """The sizes of the maps as the layers want them; all of every map is photo."""
    shapes = [(level.shape[2], level.shape[3]) for level in maps]
    sizes = torch.tensor(shapes, device=maps[0].device)
    cells = sizes.prod(1)
    return {
        "spatial_shapes": sizes,
        "spatial_shapes_list": shapes,
        "level_start_index": cells.cumsum(0) - cells,
        "valid_ratios": maps[0].new_ones(len(maps[0]), len(maps), 2),
        "return_dict": True,
    }


def _nowhere(vision: Tensor) -> Tensor:
    """(B, N) bool: which cells are padding; none."""
    return torch.zeros(vision.shape[:2], dtype=torch.bool, device=vision.device)


def _exact(tensor: Tensor) -> torch.autocast:
    """A context without autocast."""
    return torch.autocast(tensor.device.type, enabled=False)

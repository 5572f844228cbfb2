"""The published implementation, groundingdino-py, with the three methods of `Detector`.

It is there to load a `.pth` just as its authors do, and to prove that the default backend agrees.
groundingdino-py 0.4.0 builds a wrapper around BERT that needs methods which transformers 5 no
longer has; here BERT itself takes the wrapper's place, and is given the mask as it wants it.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from visionweave import NodeError, WeightsError

from .names import is_original
from .prompts import Prompt

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GroundingDinoConfig


class OriginalDetector:
    """A Grounding DINO of the published implementation; it takes photos one by one.

    Args:
        network: groundingdino-py's model with its weights, on its device.
        mean, std: of the colours in [0, 1], R G B, that the weights were trained with.
    """

    def __init__(self, network: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.network = network.eval()
        self._mean, self._std = mean, std

    def look(self, pixels: Tensor) -> list[tuple[Tensor, ...]]:
        """Return photos, (B, H, W, 3) uint8, as the model wants them: (3, H, W) fp32 each."""
        from .net import normalised

        pixels = pixels.to(next(self.network.parameters()).device)
        return [(photo,) for photo in normalised(pixels, self._mean, self._std)]

    def read(self, prompt: Prompt) -> Prompt:
        """Return the prompt: the model reads it anew for every photo."""
        return prompt

    def detect(
        self, scenes: list[tuple[Tensor, ...]], words: list[Prompt]
    ) -> tuple[Tensor, Tensor]:
        """Look for each prompt in the photo beside it; see `Detector.detect`."""
        import torch

        found = [
            self.network(photo[None], captions=[prompt.ids])
            for (photo,), prompt in zip(scenes, words, strict=True)
        ]
        longest = max(len(prompt.ids) for prompt in words)
        logits = torch.cat([each["pred_logits"][:, :, :longest] for each in found])
        return logits.float(), torch.cat([each["pred_boxes"] for each in found]).float()


def build_original(
    config: GroundingDinoConfig, tensors: dict[str, Any], separators: tuple[int, ...]
) -> Any:
    """Return groundingdino-py's model with the weights of a published file.

    Args:
        config: the sizes of the network.
        tensors: the weights under their published names.
        separators: the tokens between phrases.

    Raises:
        NodeError: groundingdino-py is not installed.
        WeightsError: these are not the weights of such a model.
    """
    if not is_original(tensors):
        raise WeightsError(
            "backend 'original' reads the published .pth files, and these weights bear "
            "transformers' names; use backend 'transformers'"
        )
    network = _empty(config, separators)
    kept = network.state_dict().keys()
    try:
        network.load_state_dict({name: each for name, each in tensors.items() if name in kept})
    except RuntimeError as error:
        raise WeightsError(
            f"these are not the weights of the Grounding DINO that the configuration describes: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    return network


def _empty(config: GroundingDinoConfig, separators: tuple[int, ...]) -> Any:
    """Build the model with random weights, BERT in the place of its wrapper."""
    with warnings.catch_warnings():  # it uses timm and torch in ways that they will end
        warnings.simplefilter("ignore")
        library = _library()
        mine = {
            "get_tokenlizer": SimpleNamespace(
                get_tokenlizer=lambda name: _Tokens(separators),
                get_pretrained_language_model=lambda name: _bert(config.text_config),
            ),
            "BertModelWarper": lambda bert_model: bert_model,
        }
        theirs = {name: getattr(library, name) for name in mine}
        vars(library).update(mine)
        try:
            return _network(library, config)
        finally:
            vars(library).update(theirs)


def _library() -> Any:
    try:
        from groundingdino.models.GroundingDINO import groundingdino
    except ModuleNotFoundError as error:
        raise NodeError(
            f"grounding_dino.detect with backend 'original' needs groundingdino-py ({error}); "
            "install it with: pip install 'visionweave[original]'"
        ) from None
    return groundingdino


def _network(library: Any, config: GroundingDinoConfig) -> Any:
    from groundingdino.models.GroundingDINO.transformer import build_transformer

    sizes = _sizes(config)
    return library.GroundingDINO(
        _backbone(config, sizes),
        build_transformer(sizes),
        num_queries=config.num_queries,
        iter_update=True,
        query_dim=config.query_dim,
        num_feature_levels=config.num_feature_levels,
        nheads=config.encoder_attention_heads,
        two_stage_type="standard",
        two_stage_bbox_embed_share=config.two_stage_bbox_embed_share,
        two_stage_class_embed_share=False,
        dec_pred_bbox_embed_share=config.decoder_bbox_embed_share,
    )


class _Tokens:
    """What the model takes for its tokenizer: the captions that it is given are tokens already."""

    def __init__(self, separators: tuple[int, ...]) -> None:
        self._separators = list(separators)

    def convert_tokens_to_ids(self, marks: list[str]) -> list[int]:
        return self._separators

    def __call__(self, captions: list[tuple[int, ...]], **options: Any) -> Any:
        import torch
        from transformers import BatchEncoding

        ids = torch.tensor(captions)
        nothing, all_of_it = torch.zeros_like(ids), torch.ones_like(ids)
        return BatchEncoding(
            {"input_ids": ids, "token_type_ids": nothing, "attention_mask": all_of_it}
        )


def _bert(config: Any) -> Any:
    """BERT, which takes a mask for each head where the model gives one for all."""
    from transformers import BertModel

    def per_head(module: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return arguments, named | {"attention_mask": named["attention_mask"][:, None]}

    bert = BertModel(config)
    bert.register_forward_pre_hook(per_head, with_kwargs=True)
    return bert


def _backbone(config: GroundingDinoConfig, sizes: SimpleNamespace) -> Any:
    from groundingdino.models.GroundingDINO.backbone.backbone import Joiner
    from groundingdino.models.GroundingDINO.backbone.position_encoding import (
        build_position_encoding,
    )
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer

    said: Any = config.backbone_config
    swin = SwinTransformer(
        patch_size=said.patch_size,
        embed_dim=said.embed_dim,
        depths=said.depths,
        num_heads=said.num_heads,
        window_size=said.window_size,
        mlp_ratio=said.mlp_ratio,
        out_indices=tuple(stage - 1 for stage in said.out_indices),
    )
    joined = Joiner(swin, build_position_encoding(sizes))
    joined.num_channels = [swin.num_features[stage - 1] for stage in said.out_indices]
    return joined


def _sizes(config: GroundingDinoConfig) -> SimpleNamespace:
    """The configuration in the words of groundingdino-py's own files."""
    return SimpleNamespace(
        hidden_dim=config.d_model,
        nheads=config.encoder_attention_heads,
        num_queries=config.num_queries,
        dim_feedforward=config.encoder_ffn_dim,
        enc_layers=config.encoder_layers,
        dec_layers=config.decoder_layers,
        enc_n_points=config.encoder_n_points,
        dec_n_points=config.decoder_n_points,
        num_feature_levels=config.num_feature_levels,
        query_dim=config.query_dim,
        transformer_activation=config.activation_function,
        position_embedding="sine",
        pe_temperatureH=config.positional_embedding_temperature,
        pe_temperatureW=config.positional_embedding_temperature,
        two_stage_type="standard",
        embed_init_tgt=True,
        use_text_enhancer=True,
        use_fusion_layer=True,
        use_text_cross_attention=True,
        use_checkpoint=False,
        use_transformer_ckpt=False,
        pre_norm=False,
        num_patterns=0,
        dropout=0.0,
        text_dropout=0.0,
        fusion_dropout=0.0,
        fusion_droppath=0.0,
    )

"""CLIP models that open_clip builds: OpenAI's, LAION's, EVA-02, SigLIP 2, MobileCLIP 2, XLM-R CLIP.

What the entry's `config` in weights.lock may say, besides what `View.read` takes:

    architecture    open_clip's name of the model, such as "ViT-B-32", or a whole model config as
                    open_clip has it; else it is read from the file open_clip_config.json
    pretrained      open_clip's tag, such as "openai": mean, std, resizing and QuickGELU follow it
    quick_gelu      whether it was trained with QuickGELU, where neither name nor tag says so
    reparameterize  whether it has parallel branches to be merged (MobileCLIP)
    text_model      the config of a text tower of transformers, as AutoConfig takes it

Nothing is downloaded: towers are built empty, and every weight comes from the checkpoint.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave.errors import WeightsError, did_you_mean
from visionweave.weights import Checkpoint

from .files import check_keys, read_state, read_table
from .tokens import Tokens, bpe_tokens, file_tokens, has_tokenizer
from .view import View

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OpenClipTowers"]

CONFIG_FILE = "open_clip_config.json"

_XLM_ROBERTA = {
    "model_type": "xlm-roberta",
    "vocab_size": 250002,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
TEXT_MODELS: dict[str, dict[str, Any]] = {
    "xlm-roberta-base": _XLM_ROBERTA,
    "xlm-roberta-large": _XLM_ROBERTA
    | {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
}
"""The published text towers (Conneau et al. 2020, arXiv:1911.02116), which open_clip knows by name
alone."""


class OpenClipTowers:
    """The two towers of a model that open_clip built; see `_clip_model.Towers`."""

    def __init__(self, entry: Checkpoint, files: Mapping[str, Path]) -> None:
        config, shown = _architecture(entry, files)
        self.module: Any = build(config, entry.config.get("text_model"), entry.name)
        state = read_state(entry.name, files)
        _load(self.module, state, entry.name)
        if entry.config.get("reparameterize", False):
            _merge_branches(self.module)
        side = self.module.visual.image_size
        side = side if isinstance(side, int) else side[0]
        self.view = View.read(entry.name, side, shown, entry.config)
        self.tokens = _tokens(entry.name, files, config, self.module)
        self.scale: float = self.module.logit_scale.detach().exp().item()
        bias = self.module.logit_bias
        self.bias: float | None = None if bias is None else bias.item()

    def images(self, pixels: Tensor) -> Tensor:
        """Embed normalised pixels, (N, 3, S, S) float32; (N, D), of any length."""
        features: Tensor = self.module.encode_image(pixels)
        return features

    def texts(self, ids: Tensor) -> Tensor:
        """Embed token ids, (N, L) int64; (N, D), of any length."""
        features: Tensor = self.module.encode_text(ids)
        return features


def _architecture(
    entry: Checkpoint, files: Mapping[str, Path]
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return open_clip's config of the model, and what is known of its preprocessing."""
    named, shown = entry.config.get("architecture"), {}
    if named is None:
        table = read_table(entry.name, files, CONFIG_FILE)
        config, shown = table["model_cfg"], table.get("preprocess_cfg", {})
    elif isinstance(named, Mapping):
        config = copy.deepcopy(dict(named))
    else:
        config, shown = _published(entry.name, named, entry.config.get("pretrained"))
    for table in (shown, entry.config):
        if "quick_gelu" in table:
            config["quick_gelu"] = table["quick_gelu"]
    return config, shown


def _published(name: str, architecture: str, tag: str | None) -> tuple[dict[str, Any], Any]:
    """Return what open_clip knows of an architecture, and of a checkpoint of it."""
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None:
        hint = did_you_mean(architecture, open_clip.list_models())
        raise WeightsError(f"{name}: open_clip knows no architecture {architecture!r}; {hint}")
    shown = {} if tag is None else open_clip.get_pretrained_cfg(architecture, tag)
    if tag is not None and not shown:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture))
        raise WeightsError(f"{name}: open_clip knows no {architecture} {tag!r}; it has {tags}")
    return config, shown


def build(config: Mapping[str, Any], text_model: Any = None, name: str = "a checkpoint") -> Any:
    """Build the network of an open_clip config with random weights, from no file and no network.

    Args:
        config: as in open_clip's model_configs/*.json; it is not changed.
        text_model: the config of its text tower, where that is one of transformers'; None for
            one of TEXT_MODELS.
        name: the checkpoint's, for messages.

    Raises:
        WeightsError: the text tower is one of transformers', and its config is not known.
    """
    import open_clip

    own: dict[str, Any] = copy.deepcopy(dict(config))
    vision, text = own["vision_cfg"], own["text_cfg"]
    custom = own.pop("custom_text", False) or "hf_model_name" in text
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    network = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if "hf_model_name" not in text:
        return network(**own)
    tower = TEXT_MODELS.get(text["hf_model_name"]) if text_model is None else text_model
    if tower is None:
        raise WeightsError(
            f"{name}: its text tower is {text['hf_model_name']} of transformers; give that tower's "
            "config as text_model in the config of its entry in weights.lock"
        )
    with tempfile.TemporaryDirectory() as folder:  # where open_clip reads a config without network
        Path(folder, "config.json").write_text(json.dumps(tower))
        text |= {"hf_model_name": folder, "hf_model_pretrained": False}
        return network(**own)


def _load(module: Any, state: dict[str, Any], name: str) -> None:
    """Load weights in any of the namings that open_clip has had, each exactly once."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(module, state)
    if not hasattr(module, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = module.state_dict()
    for scalar in {"logit_scale", "logit_bias"} & state.keys() & own.keys():
        state[scalar] = state[scalar].reshape(own[scalar].shape)  # () in some files, (1,) in others
    common = own.keys() & state.keys()
    check_keys(
        name,
        missing=own.keys() - state.keys(),
        unexpected=state.keys() - own.keys(),
        misshapen={key for key in common if own[key].shape != state[key].shape},
    )
    module.load_state_dict(state)


def _merge_branches(module: Any) -> None:
    """Fold the parallel branches that MobileCLIP trains with into one convolution each."""
    from timm.utils.model import reparameterize_model

    module.visual.eval()  # the running means are what is merged
    reparameterize_model(module.visual, inplace=True)


def _tokens(name: str, files: Mapping[str, Path], config: Mapping[str, Any], module: Any) -> Tokens:
    from open_clip.tokenizer import get_clean_fn

    text = config["text_cfg"]
    length = text.get("context_length", 77)
    kwargs = dict(text.get("tokenizer_kwargs") or {})
    clean = kwargs.pop("clean", None)
    if kwargs or text.get("tokenizer_mode"):
        asked = ", ".join([*kwargs, *filter(None, [text.get("tokenizer_mode")])])
        raise WeightsError(f"{name}: its tokenizer asks for {asked}, which is not supported")
    own = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if not own and not has_tokenizer(files):
        return bpe_tokens(length, clean or "lower")
    if "hf_model_name" in text:
        pad = module.text.config.pad_token_id
    elif "init_logit_bias" in config:  # SigLIP
        pad = None
    else:
        pad = text.get("pad_id", 0)
    return file_tokens(name, files, length, pad, get_clean_fn(clean or "whitespace"))

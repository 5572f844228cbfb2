"""BLIP base: a caption of 20 tokens for each photo of a folder."""

from __future__ import annotations

from typing import Any

import PIL.Image

import visionweave as vw
from visionweave.nodes.blip import Caption

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

NAME = "random-blip"
TOKENS = 20
"""As many on both sides: a random network never ends a caption at the same place."""


def caption_node(settings: Settings) -> Caption:
    return Caption(NAME, beams=settings.beams, max_tokens=TOKENS, min_tokens=TOKENS)


def plain_loop(settings: Settings) -> Outcome:
    """What the model card shows: a photo at a time, in fp32."""
    from transformers import (
        BertTokenizer,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    tokenizer = BertTokenizer(vocab=str(made_in(NAME) / "vocab.txt"))
    processor = BlipProcessor(BlipImageProcessor(), tokenizer)
    model = BlipForConditionalGeneration.from_pretrained(made_in(NAME)).eval()
    model = model.to(settings.torch_device)

    def do(path: str) -> Any:
        inputs = processor(PIL.Image.open(path).convert("RGB"), return_tensors="pt")
        out = model.generate(
            **inputs.to(settings.torch_device),
            num_beams=settings.beams,
            max_new_tokens=TOKENS,
            min_new_tokens=TOKENS,
        )
        return processor.decode(out[0], skip_special_tokens=True).strip()

    return one_by_one(settings, do)


def weave(settings: Settings) -> Outcome:
    """visionweave."""
    pipeline = vw.Pipeline(caption=caption_node(settings)(vw.Input("photo", vw.Image)))
    return woven(settings, pipeline, lambda result: result["caption"].text)


def ceilings(settings: Settings) -> tuple[float, int, float]:
    """The model alone and its best batch; decoding as far as BLIP needs it."""
    node = caption_node(settings)
    photos = [vw.Image.open(path) for path in settings.photos]  # equal ones are seen once
    rows = lambda count: [[photos[index % len(photos)]] for index in range(count)]  # noqa: E731
    rate, batch, _ = best_rate(settings, node, rows)
    return rate, batch, decoding(settings, [node.fit()])


def prepare(settings: Settings) -> None:
    make_weights(NAME)


def main(settings: Settings) -> None:
    """Run both ways, and print how they compare."""
    alone(prepare, settings)
    ways = {"plain transformers loop": plain_loop, OURS: weave}
    found = each_alone(ways, settings)
    model, batch, reduced = alone(ceilings, settings)
    ours = print_ways(settings, found)
    rows = {
        "the model alone": f"{model:.3g} photos/s, in batches of {batch}",
        "decoding as far as needed, a thread": f"{reduced:.3g} photos/s",
    }
    print_ceilings(ours, ceiling(settings, [model], reduced), rows)
    plain, woven_values = (found[name].values for name in ways)
    same = sum(one == other for one, other in zip(plain, woven_values, strict=True))
    print(
        f"\n{same} of {len(plain)} captions are the plain loop's, {len(set(plain))} of them "
        "different; both have 20 tokens. Random words are nearly as likely as each other, so that "
        "low precision changes some."
    )

"""Whether channels-last weights or compiled encoders pay on this machine.

    python benchmarks/variants.py
    python benchmarks/variants.py --batch 1 --rounds 9

Image encoders of the published sizes with random weights, as they are, with channels-last weights
and inputs, and compiled by torch.compile. They take turns within one run, so that what else the
machine does meets all of them; medians are printed, and how far what comes out is from the first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]


def encoders() -> Iterator[tuple[str, nn.Module, int]]:
    """Names, encoders, and the sides of what they see."""
    import open_clip
    from segment_anything import sam_model_registry

    yield "CLIP ViT-B/32", open_clip.create_model("ViT-B-32").visual, 224
    yield "CLIP RN50", open_clip.create_model("RN50").visual, 224
    yield "SAM ViT-B", sam_model_registry["vit_b"]().image_encoder, 1024


def variants(network: nn.Module) -> dict[str, tuple[Forward, torch.memory_format]]:
    """The ways to run a network; each by its name, with the layout of its input."""
    import copy

    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    return {
        "as it is": (network, torch.contiguous_format),
        "channels-last": (last, torch.channels_last),
        "compiled": (torch.compile(network), torch.contiguous_format),
        "both": (torch.compile(last), torch.channels_last),
    }


def measure(network: nn.Module, pixels: Tensor, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each variant, and how far its result is from the first's at most."""
    ways = variants(network)
    inputs = {name: pixels.to(memory_format=layout) for name, (_, layout) in ways.items()}
    first = ways["as it is"][0](pixels)
    apart = {
        name: float((way(inputs[name]) - first).abs().max()) for name, (way, _) in ways.items()
    }  # which also compiles and warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, _) in ways.items():
            started = time.perf_counter()
            way(inputs[name])
            if pixels.is_cuda:
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
    return {name: (statistics.median(each), apart[name]) for name, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=8, help="photos at a time; SAM takes one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="under autocast to bf16")
    options = parser.parse_args()
    torch.manual_seed(0)
    context = torch.autocast(options.device, torch.bfloat16) if options.bf16 else nullcontext()
    print("| encoder | variant | ms | times as fast | differs by at most |\n|---|---|---|---|---|")
    for name, network, side in encoders():
        batch = 1 if side == 1024 else options.batch
        pixels = torch.randn(batch, 3, side, side, device=options.device)
        with torch.inference_mode(), context:
            found = measure(network.eval().to(options.device), pixels, options.rounds)
        base = found["as it is"][0]
        for variant, (seconds, apart) in found.items():
            row = f"{1000 * seconds:.0f} | {base / seconds:.2f} | {apart:.1e}"
            print(f"| {name}, batch {batch} | {variant} | {row} |", flush=True)


if __name__ == "__main__":
    main()

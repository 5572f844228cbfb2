"""Which models a run uses: the option --profile, and what is said of them before it begins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from visionweave.graph import Graph

__all__ = ["Profile", "announce", "check_here"]

Profile = Annotated[
    str | None,
    typer.Option(
        help="Which models: mini (the default: ships with visionweave, knows stickers, not "
        "photographs), base, large, or one of your own list."
    ),
]


def announce(graph: Graph) -> None:
    """Print on standard error which models a pipeline is about to use.

    Raises:
        WeightsError: some model has no checkpoint.
    """
    from visionweave.overrides import checkpoints
    from visionweave.weights.lookup import ABOUT_MINI, is_profile

    by_profile: dict[str, dict[str, None]] = {}
    found = checkpoints(graph)
    for step, entry in found.items():
        name = str(graph.steps[step].node.settings["model"])
        by_profile.setdefault(name if is_profile(name) else "", {})[entry.name] = None
    for profile, names in by_profile.items():
        title = f"profile {profile}" if profile else "models by name"
        print(f"{title}: {', '.join(names)}", file=sys.stderr)
    if any(entry.shipped for entry in found.values()):
        print(f"mini: {ABOUT_MINI}; for those: --profile base", file=sys.stderr)


def check_here(graph: Graph) -> None:
    """Refuse a pipeline whose models are not all on this machine.

    Raises:
        WeightsError: it is so. All that is missing is said at once, before anything is loaded.
    """
    from visionweave.errors import WeightsError
    from visionweave.overrides import checkpoints
    from visionweave.weights.store import missing_text

    missing = dict.fromkeys(map(missing_text, checkpoints(graph).values()))
    missing.pop("", None)
    if missing:
        raise WeightsError("\n".join(missing))

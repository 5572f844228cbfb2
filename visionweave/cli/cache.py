"""The commands about the result cache: `visionweave cache info|clear`."""

from __future__ import annotations

import typer

from visionweave.cli.words import counted

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="""What models have computed is kept, and found again by all jobs of this machine.

    It lies in $VISIONWEAVE_CACHE, else in your cache folder, and holds up to
    $VISIONWEAVE_CACHE_SIZE, else 20 GB; of more, what was not used for longest goes.""",
)


@app.command()
def info() -> None:
    """Say where the cache lies, and how full it is."""
    from visionweave.cache import Cache
    from visionweave.weights.store import size_text

    with Cache() as cache:
        found = cache.results.info()
    print(
        f"{found.folder}: {counted(found.results, 'result')}, {size_text(found.bytes)} "
        f"of at most {size_text(found.limit)}"
    )


@app.command()
def clear() -> None:
    """Remove all that is kept; it is computed again when it is needed."""
    from visionweave.cache import Cache
    from visionweave.weights.store import size_text

    with Cache() as cache:
        before = cache.results.clear()
    results = counted(before.results, "result")
    print(f"removed {results}, {size_text(before.bytes)}, from {before.folder}")

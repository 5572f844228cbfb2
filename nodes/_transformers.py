"""Giving weights of ours to a network of transformers, quietly, and saying what does not fit."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["unfit", "with_weights"]

_LISTED = 3


def with_weights(cls: Any, config: Any, tensors: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a model with these weights in fp32, and transformers' report of them.

    Args:
        cls: the model's class.
        config: its configuration.
        tensors: the weights by name; names of older versions are understood.

    Returns:
        the model; by kind of misfit ("missing_keys" …) the names concerned, empty where all fit.
    """
    with _quiet():
        network, report = cls.from_pretrained(
            None,  # from nowhere: all that it needs is given
            config=config,
            state_dict=dict(tensors),
            dtype="float32",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, and the caller refuses them
        )
    return network, report


def unfit(report: Mapping[str, Any]) -> str:
    """Return what a report says, some names of each kind; "" where all weights fit."""
    return "; ".join(_few(kind, names) for kind, names in report.items() if names)


def _few(kind: str, names: Iterable[Any]) -> str:
    listed = sorted(str(name[0] if isinstance(name, tuple) else name) for name in names)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return f"{kind.replace('_', ' ')}: {', '.join(listed[:_LISTED])}{more}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and tables: what is wrong is raised."""
    from transformers.utils import logging as library

    settings: Any = library
    bars, level = settings.is_progress_bar_enabled(), settings.get_verbosity()
    settings.disable_progress_bar()
    settings.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        settings.set_verbosity(level)
        if bars:
            settings.enable_progress_bar()

"""Finding nodes: by entry points, so that a package adds nodes by its `pyproject.toml` alone.

    [project.entry-points."visionweave.nodes"]
    "acme.blur" = "acme_vision.nodes:Blur"

Nothing is imported before it is asked for, and nothing is found that is not declared there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points

from visionweave.contract import Node, NodeSpec
from visionweave.errors import NodeError, did_you_mean

__all__ = ["GROUP", "find_node", "node_ids", "replaced"]

GROUP = "visionweave.nodes"

_replaced: dict[str, type[Node]] = {}


def node_ids() -> list[str]:
    """The ids of all installed nodes, sorted."""
    return sorted(_declared().keys() | _replaced.keys())


def find_node(id: str) -> type[Node]:
    """Return the node class called `id`, importing its module.

    Raises:
        NodeError: there is none, two packages claim it, it cannot be imported, or it is no node.
    """
    if id in _replaced:
        return _replaced[id]
    claims = _declared().get(id, ())
    if not claims:
        hint = did_you_mean(id, node_ids()) or "`visionweave nodes` lists the nodes installed"
        raise NodeError(f"unknown node {id!r}; {hint}")
    if len(claims) > 1:
        packages = " and ".join(sorted(_package(claim) for claim in claims))
        raise NodeError(f"node {id!r} is claimed by {packages}; uninstall one of them")
    return _import(claims[0])


@contextmanager
def replaced(nodes: Mapping[str, type[Node]]) -> Iterator[None]:
    """Put other classes in the place of nodes, or add new ones, for the length of a `with`."""
    before = dict(_replaced)
    _replaced.update(nodes)
    try:
        yield
    finally:
        _replaced.clear()
        _replaced.update(before)


@functools.cache
def _declared() -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=GROUP):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _import(entry: EntryPoint) -> type[Node]:
    place = f"node {entry.name!r} of package {_package(entry)}"
    try:
        cls: type[Node] = entry.load()
    except (Exception, SystemExit) as error:  # a plug-in may raise anything when imported
        raise NodeError(
            f"{place} cannot be imported: {type(error).__name__}: {error}; repair or uninstall it"
        ) from error
    spec = getattr(cls, "spec", None)
    if not isinstance(spec, NodeSpec) or spec.cls is not cls:
        raise NodeError(f"{place} is declared as {entry.value}, which is no node; decorate it")
    if spec.id != entry.name:
        raise NodeError(f"{place} is declared as {entry.value}, which calls itself {spec.id!r}")
    return cls


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unknown package"

"""How good the solids of TripoSR's network are, by the node's own steps and against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.models._triposr_inflate import DISTANCE
from training.models._triposr_items import FOREGROUND_RATIO, cut_out, inflated, solid_item
from training.models._triposr_shots import placed_solid
from training.world import World
from visionweave import Cutout, Mesh, ValueTypeError
from visionweave.nodes.mesh import Camera, measure, silhouette
from visionweave.nodes.triposr import CAMERA_FOV_DEG
from visionweave.nodes.triposr.input import framed
from visionweave.nodes.triposr.net import TripoSR
from visionweave.nodes.triposr.surface import extract, to_gltf

__all__ = ["drawings", "iou", "mesh_of", "silhouette_iou", "solids"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

PLACES = 8192
"""At so many points, anywhere in the cube, volumes are compared."""
THRESHOLD = 25.0
SIDE = 96
"""Of the pictures in which silhouettes are compared."""
_SEED = 20261122


def drawings(network: TripoSR, world: World, count: int, meshes: int) -> dict[str, float]:
    """Mean IoU of the volumes of `count` drawings with the truth; of some, facts of the mesh.

    Returns:
        "volume_iou"; "silhouette_iou" with the cutout, from the camera's place; the share that is
        "watertight".
    """
    rng = np.random.default_rng(_SEED)
    volumes, silhouettes, closed = [], [], []
    for number in range(count):
        cutout = cut_out(rng, world, exactly=True)
        solid, picture = inflated(cutout, network.config.image_size)
        planes = _planes(network, picture)
        volumes.append(_volume_iou(network, planes, rng, solid.inside))
        if number < meshes:
            mesh = mesh_of(network, planes)
            silhouettes.append(0.0 if mesh is None else silhouette_iou(mesh, cutout, SIDE))
            closed.append(mesh is not None and measure(mesh).watertight)
    return {
        "volume_iou": float(np.mean(volumes)),
        "silhouette_iou": float(np.mean(silhouettes)),
        "watertight": float(np.mean(closed)),
    }


def solids(network: TripoSR, count: int) -> dict[str, float]:
    """Mean IoU of the volumes of `count` procedural solids; the share of watertight meshes."""
    rng = np.random.default_rng(_SEED)
    volumes, closed = [], []
    for number in range(count):
        solid = placed_solid("test", number)
        picture = solid_item(rng, "test", number, network.config, 1).picture
        planes = _planes(network, picture)
        volumes.append(_volume_iou(network, planes, rng, lambda p, s=solid: s.distance(p)[0] < 0))
        if number % 4 == 0:
            mesh = mesh_of(network, planes)
            closed.append(mesh is not None and measure(mesh).watertight)
    return {"solids_iou": float(np.mean(volumes)), "solids_watertight": float(np.mean(closed))}


def mesh_of(network: TripoSR, planes: Tensor) -> Mesh | None:
    """The mesh that the node makes of planes (3, F, Q, Q), without colours; None where none is."""
    density = network.densities(planes, network.config.resolution).cpu().numpy()
    try:
        vertices, faces = extract(density, THRESHOLD, network.config.radius)
    except ValueTypeError:
        return None
    return Mesh(to_gltf(vertices), faces)


def iou(one: Flags, other: Flags) -> float:
    """The intersection of two sets over their union; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0


def silhouette_iou(mesh: Mesh, cutout: Cutout, side: int) -> float:
    """How well a mesh, seen from the camera's place, covers the cutout that it was made of."""
    seen = silhouette(mesh, Camera(0, 0, DISTANCE, CAMERA_FOV_DEG), side)
    return iou(seen, framed(cutout, FOREGROUND_RATIO, side)[:, :, 3] > 0.5)


def _planes(network: TripoSR, picture: Floats) -> Tensor:
    on = next(network.parameters()).device
    return network(torch.from_numpy(picture[None]).to(on))[0]


def _volume_iou(
    network: TripoSR,
    planes: Tensor,
    rng: np.random.Generator,
    inside: Callable[[Floats], Flags],
) -> float:
    radius = network.config.radius
    points = rng.uniform(-radius, radius, (PLACES, 3)).astype(np.float32)
    log_density, _ = network.field(planes[None], torch.from_numpy(points[None]).to(planes.device))
    return iou((log_density[0] > math.log(THRESHOLD)).cpu().numpy(), inside(points))

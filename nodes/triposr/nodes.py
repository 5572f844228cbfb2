"""The node of TripoSR.

Letters: V vertices, F faces, R the grid's resolution, F x Q x Q the features of one plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Cutout, ModelNode, Runtime, batched, node
from visionweave import Mesh as MeshValue
from visionweave.weights import Checkpoint, checkpoint, read_tensors, verified_files

from .config import Config, read_config
from .input import framed, over_grey
from .surface import extract, to_gltf

if TYPE_CHECKING:
    import torch

    from .net import TripoSR

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

CAMERA_DISTANCE, CAMERA_FOV_DEG = 1.9, 40.0
"""Where TripoSR takes the photo's camera to be: in front, level, looking at the origin."""

POINTS = 2**16
"""Vertices whose colours are computed at once."""


@node("triposr.mesh", paper="Tochilkin et al. 2024, arXiv:2403.02151", license="MIT")
class Mesh(ModelNode):
    """Turn each cutout into a 3D model: a closed, coloured surface.

    The mesh stands upright and faces the photo's camera. Its unit is the model's: the object lies
    in a cube from -0.87 to 0.87. What the photo does not show is the model's guess. Planes are
    computed in the runtime's precision, the field and the surface in fp32.

    Settings:
        model: the checkpoint, by name or by profile.
        resolution: points of the density grid on each axis; None for what the model's planes are
            fine enough for, 256 for the published one. Time and memory grow with its cube.
        foreground_ratio: the object's longer side in the picture that the model sees.
        colours: whether the vertices get colours.
        threshold: the density at which the surface lies.
    """

    tolerance = 0.02
    """How far bf16 may differ from fp32: the share of the solids' union that only one fills."""

    def __init__(
        self,
        model: str = "mini",
        resolution: Annotated[int, Field(ge=8, le=1024)] | None = None,
        foreground_ratio: Annotated[float, Field(ge=0.1, le=1)] = 0.85,
        colours: bool = True,
        threshold: Annotated[float, Field(gt=0, le=1e5)] = 25.0,
    ) -> None:
        self.model = model
        self.resolution = resolution
        self.foreground_ratio = foreground_ratio
        self.colours = colours
        self.threshold = threshold

    def load(self, runtime: Runtime) -> None:
        """Read the checkpoint onto the runtime's device, in fp32."""
        entry = checkpoint(self.model, family="triposr")
        config = read_config(entry)
        key = (config, *(file.sha256 for file in entry.files))
        self._net = runtime.share(key, lambda: _load(entry, config, runtime.device))
        self._device = runtime.device

    def unload(self) -> None:
        """Forget the model."""
        super().unload()
        del self._net

    async def run(self, cutout: Cutout) -> MeshValue:
        """Reconstruct one object."""
        config = self._net.config
        picture = over_grey(framed(cutout, self.foreground_ratio, config.image_size))
        planes = await self.planes(picture)
        density = await self.densities(planes)
        vertices, faces = extract(density, self.threshold, config.radius)
        colours = await self.paint((planes, vertices)) if self.colours else None
        return MeshValue(to_gltf(vertices), faces, colours, cutout.origin)

    @batched(size=4)
    def planes(self, pictures: list[Floats]) -> list[torch.Tensor]:
        """(S, S, 3) RGB in [0, 1] to planes (3, F, Q, Q) on the device."""
        import torch

        batch = torch.from_numpy(np.stack(pictures)).to(self._device)
        return list(self._net(batch))

    @batched(size=4)  # each alone; the engine takes as many objects at once as its methods all take
    def densities(self, planes: list[torch.Tensor]) -> list[Floats]:
        """Planes to densities (R, R, R)."""
        resolution = self.resolution or self._net.config.resolution
        return [self._net.densities(each, resolution).cpu().numpy() for each in planes]

    @batched(size=4)
    def paint(self, asked: list[tuple[torch.Tensor, Floats]]) -> list[Pixels]:
        """Planes and points (V, 3) in the model's frame to RGBA (V, 4), opaque."""
        return [self._colours(planes, points) for planes, points in asked]

    def _colours(self, planes: torch.Tensor, points: Floats) -> Pixels:
        import torch

        radius = self._net.config.radius
        places = torch.from_numpy(points.clip(-radius, radius)).to(self._device)
        parts = [self._net.field(planes[None], part[None])[1][0] for part in places.split(POINTS)]
        rgb = torch.cat(parts).mul(255).round().byte().cpu().numpy()
        return np.pad(rgb, ((0, 0), (0, 1)), constant_values=255)


def _load(entry: Checkpoint, config: Config, device: str) -> TripoSR:
    from .net import build

    files = verified_files(entry)
    (path,) = (files[name] for name in files if name.endswith((".safetensors", ".ckpt")))
    return build(config, read_tensors(path), device)

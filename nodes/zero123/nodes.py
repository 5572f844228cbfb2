"""The node of Zero-1-to-3.

Letters: N views, S the side of a picture, L = S / 8 that of its latents, D CLIP's embedding.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Cutout, ModelNode, NodeError, PipelineError, Runtime, batched, node
from visionweave import Views as ViewsValue
from visionweave.errors import Problem
from visionweave.weights import Checkpoint, checkpoint, verified_files

from .config import Config, read_config
from .ddim import MOST_STEPS, ddim_steps
from .input import framed, pose
from .weights import read_networks

if TYPE_CHECKING:
    import torch

    from .net import Zero123

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

CAMERA_DISTANCE = 1.85
"""The photo's camera is taken to be as far away as the mean of the training pictures' was, in units
of the object's longest side; they were from 1.5 to 2.2."""

CAMERA_FOV_DEG = 2 * math.degrees(math.atan(32 / 2 / 35))
"""The training pictures' field of view, 49.1: a lens of 35 mm, a sensor of 32 mm."""

FOREGROUND_RATIO = 200 / 256
"""The object's longer side in the authors' own demo."""

ALL_ROUND = (30.0, 90.0, 150.0, 210.0, 270.0, 330.0)

Degrees = Annotated[float, Field(ge=-360, le=360)]
Elevation = Annotated[float, Field(ge=-90, le=90)]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the denoiser sees of a picture: CLIP's embedding (D,), and latents (4, L, L)."""

    embedding: torch.Tensor
    latents: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A view to be made: of what, its camera's pose (4,), and the seed of its noise."""

    seen: Seen
    pose: Floats
    seed: tuple[int, int]


@node("zero123.views", version=2, paper="Liu et al. 2023, arXiv:2303.11328", license="MIT")
class Views(ModelNode):
    """Draw an object from other sides, as far as a cutout tells how it looks there.

    Directions and heights are those of `Views`: the photo's camera stands at azimuth 0; at 90 the
    object's right-hand side is seen, which is on the left in the photo. What the photo does not
    show is the model's guess, another one for each seed. The noise depends on the seed and on the
    view's place in the list alone, so that neither other objects nor more views at the end of the
    list change a view.

    `tolerance` is the mean difference of a view's colours, from 0 to 1.

    Settings:
        model: the checkpoint, by name or by profile.
        azimuths_deg: the directions, one for each view.
        elevations_deg: the cameras' heights above the object's middle, as angles: one for all views
            or one for each; None for the photo's.
        photo_elevation_deg: the photo's camera's height. Zero123 and Zero123-XL see the difference
            alone; Stable Zero123 must know it.
        distance_change: how much farther away than the photo's the cameras stand, in units of the
            object's longest side; Stable Zero123 cannot change it.
        steps: of the sampler. The authors' demo takes 75 steps with `eta` 1.
        guidance: how closely the views keep to the object; 1 for no guidance, which takes half the
            time.
        eta: the fresh noise in each step, from none to as much as in training.
        seed: of the noise.
        foreground_ratio: the object's longer side in the picture that the model sees.
    """

    tolerance = 0.01

    def __init__(
        self,
        model: str = "mini",
        azimuths_deg: Annotated[tuple[Degrees, ...], Field(min_length=1)] = ALL_ROUND,
        elevations_deg: Elevation | tuple[Elevation, ...] | None = None,
        photo_elevation_deg: Elevation = 0.0,
        distance_change: Annotated[float, Field(ge=-1, le=1)] = 0.0,
        steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 50,
        guidance: Annotated[float, Field(ge=1, le=100)] = 3.0,
        eta: Annotated[float, Field(ge=0, le=1)] = 0.0,
        seed: Annotated[int, Field(ge=0)] = 0,
        foreground_ratio: Annotated[float, Field(ge=0.1, le=1)] = FOREGROUND_RATIO,
    ) -> None:
        self.model = model
        self.azimuths_deg = azimuths_deg
        self.elevations_deg = _one_for_each(elevations_deg, photo_elevation_deg, len(azimuths_deg))
        self.photo_elevation_deg = photo_elevation_deg
        self.distance_change = distance_change
        self.steps, self.guidance, self.eta, self.seed = steps, guidance, eta, seed
        self.foreground_ratio = foreground_ratio

    def load(self, runtime: Runtime) -> None:
        """Read the checkpoint onto the runtime's device, in fp32.

        Raises:
            NodeError: diffusers is not installed.
            PipelineError: the checkpoint cannot do what a setting asks for.
        """
        if importlib.util.find_spec("diffusers") is None:
            raise NodeError(
                "zero123.views needs diffusers. Install it with: pip install 'visionweave[zero123]'"
            )
        entry = checkpoint(self.model, family="zero123")
        config = read_config(entry)
        if config.pose == "polar" and self.distance_change != 0:
            what = f"{entry.name} cannot change the camera's distance"
            got = f"distance_change: {self.distance_change}"
            fix = "leave it out, or take another model, such as zero123-xl"
            raise PipelineError([Problem(self.spec.id, what, got=got, fix=fix)])
        key = ("zero123", entry.name, *(file.sha256 for file in entry.files))
        self._net = runtime.share(key, lambda: _load(entry, config, runtime.device))
        self._device = runtime.device

    def unload(self) -> None:
        """Forget the model."""
        super().unload()
        del self._net

    async def run(self, cutout: Cutout) -> ViewsValue:
        """Make the views of one object."""
        config = self._net.config
        seen = await self.see(framed(cutout, self.foreground_ratio, config.image_size))
        poses = [
            pose(config.pose, azimuth, elevation, self.photo_elevation_deg, self.distance_change)
            for azimuth, elevation in zip(self.azimuths_deg, self.elevations_deg, strict=True)
        ]
        asked = [Asked(seen, each, (self.seed, at)) for at, each in enumerate(poses)]
        latents = await self.sample.each(asked)
        return ViewsValue(
            np.stack(await self.decode.each(latents)),
            np.array(self.azimuths_deg, np.float32),
            np.array(self.elevations_deg, np.float32),
            np.full(len(poses), CAMERA_DISTANCE + self.distance_change, np.float32),
            CAMERA_FOV_DEG,
            cutout.origin,
        )

    @batched(size=8)
    def see(self, pictures: list[Pixels]) -> list[Seen]:
        """Encode pictures (S, S, 3) RGB."""
        import torch

        batch = torch.from_numpy(np.stack(pictures)).to(self._device).permute(0, 3, 1, 2)
        found = self._net.see(batch.float() / 127.5 - 1)
        return [Seen(embedding, latents) for embedding, latents in zip(*found, strict=True)]

    @batched(size=8)
    def sample(self, asked: list[Asked]) -> list[torch.Tensor]:
        """Make views, of whatever objects: latents (4, L, L) each."""
        import torch

        generators = [np.random.default_rng(each.seed) for each in asked]
        shape = asked[0].seen.latents.shape

        def draw() -> torch.Tensor:
            noise = [each.standard_normal(shape, np.float32) for each in generators]
            return torch.from_numpy(np.stack(noise)).to(self._device)

        latents = self._net.sample(
            torch.stack([each.seen.embedding for each in asked]),
            torch.stack([each.seen.latents for each in asked]),
            torch.from_numpy(np.stack([each.pose for each in asked])).to(self._device),
            ddim_steps(self.steps, self.eta),
            self.guidance,
            draw,
        )
        return list(latents)

    @batched(size=8)
    def decode(self, latents: list[torch.Tensor]) -> list[Pixels]:
        """Latents (4, L, L) to pictures (S, S, 3) RGB."""
        import torch

        pictures = self._net.pictures(torch.stack(latents)).permute(0, 2, 3, 1)
        levels = (pictures / 2 + 0.5).clamp(0, 1).mul(255).round().byte()
        return list(levels.cpu().numpy())


def _one_for_each(
    elevations_deg: float | Sequence[float] | None, photo_elevation_deg: float, count: int
) -> tuple[float, ...]:
    """The elevation of each of `count` views.

    Raises:
        ValueError: there are several, but not one for each view.
    """
    if elevations_deg is None:
        return (photo_elevation_deg,) * count
    if isinstance(elevations_deg, Sequence):
        if len(elevations_deg) != count:
            raise ValueError(
                f"elevations_deg must be one number, or one for each of the {count} azimuths_deg; "
                f"got {len(elevations_deg)}"
            )
        return tuple(elevations_deg)
    return (elevations_deg,) * count


def _load(entry: Checkpoint, config: Config, device: str) -> Zero123:
    files = verified_files(entry)  # before the libraries, which take seconds to import
    from .net import build

    return build(config, read_networks(entry.name, files, config), entry.name, device)

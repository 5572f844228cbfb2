"""From a density volume to a closed surface, and from TripoSR's frame to that of a Mesh."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from visionweave import ValueTypeError

__all__ = ["extract", "to_gltf"]

Floats = npt.NDArray[np.float32]

REACH = 7.0
"""Log densities are cut off so far above and below the threshold's: e^7, about a thousand times.
What is empty has no logarithm, and very large ones would gather vertices in one place."""


def extract(
    density: Floats, threshold: float, radius: float
) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Find the surface where the density crosses a threshold, by marching cubes.

    Between two points of the grid the density is taken to grow exponentially, as the field makes it
    do: taken to grow linearly, it would pass the threshold right beside the emptier point, and the
    solid would gain up to half a cell all around. Outside of the volume there is nothing, so that
    what reaches its border is closed there (up to one cell beyond it).

    Args:
        density: (R, R, R) on axes x, y, z from -radius to +radius.
        threshold: dense is what is above it.
        radius: half the side of the volume.

    Returns:
        (V, 3) xyz vertices in the volume's frame, and (F, 3) faces, counter-clockwise from outside.

    Raises:
        ValueTypeError: nothing is dense enough, or the densities are not numbers.
    """
    highest = float(density.max())
    if not highest > threshold:  # nor when it is NaN
        raise ValueTypeError(
            f"no solid was found: the highest density is {highest:.4g}, and the surface is where "
            f"it passes {threshold:g}; check the cutout, or lower the setting `threshold`"
        )
    from skimage.measure import marching_cubes  # half a second to import

    with np.errstate(divide="ignore"):  # an empty place has none
        above = np.log(density / np.float32(threshold)).clip(-REACH, REACH)
    padded = np.pad(above, 1, constant_values=-REACH)
    places, faces, _, _ = marching_cubes(padded, 0.0)
    vertices = (places - 1) * (2 * radius / (len(density) - 1)) - radius
    # It winds its faces the other way round.
    return vertices.astype(np.float32), faces[:, ::-1].astype(np.int32)


def to_gltf(vertices: Floats) -> Floats:
    """Turn (V, 3) xyz from TripoSR's frame into a Mesh's; a rotation, so faces keep their sides.

    The camera's side is +x there and +z here; the photo's right +y and +x; up +z and +y.
    """
    turned: Floats = np.ascontiguousarray(vertices[:, [1, 2, 0]])
    return turned

"""Mesh: the surface of one object."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError
from visionweave.values.base import Value, check_stamp, stamp, with_origin
from visionweave.values.origin import UNKNOWN, Origin, check_origin

__all__ = ["Mesh"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mesh(Value):
    """A triangle mesh in glTF's frame: right-handed, +y up, +z towards the photo's camera.

    Attributes:
        vertices: (V, 3) float32, in units of the model that made it.
        faces: (F, 3) int32 indices into `vertices`, counter-clockwise seen from outside.
        colours: (V, 4) uint8 RGBA per vertex, sRGB; None for a mesh without colour.
        origin: the object.
    """

    vertices: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]
    colours: npt.NDArray[np.uint8] | None = None
    origin: Origin = UNKNOWN
    SUFFIX = ".glb"

    def __post_init__(self) -> None:
        vertices = freeze("Mesh.vertices", self.vertices, np.float32, "V 3")
        faces = freeze("Mesh.faces", self.faces, np.int32, "F 3")
        if len(faces) == 0:
            raise ValueTypeError("Mesh.faces must have at least one face; got none")
        if not (faces.min() >= 0 and faces.max() < len(vertices)):
            raise ValueTypeError(
                f"Mesh.faces must index {len(vertices)} vertices; "
                f"got {faces.min()} to {faces.max()}"
            )
        check_origin("Mesh.origin", self.origin)
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        if self.colours is not None:
            colours = freeze("Mesh.colours", self.colours, np.uint8, "V 4", V=len(vertices))
            object.__setattr__(self, "colours", colours)

    def to_bytes(self) -> bytes:
        """Return a binary glTF 2.0 (GLB).

        The origin is in the extras of its mesh, which `from_bytes` reads, and of its asset, where
        other programs look for it.
        """
        note = json.dumps(stamp("Mesh") | {"origin": self.origin.to_json()}, allow_nan=False)
        mesh = self._to_trimesh({"visionweave": note})
        data = mesh.export(file_type="glb", tree_postprocessor=self._sign)
        assert isinstance(data, bytes)
        return data

    def _sign(self, tree: dict[str, Any]) -> None:
        """Write into a glTF's asset what it shows."""
        tree["asset"] |= {"generator": "visionweave", "extras": self.origin.to_json()}

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the mesh for other programs, and return the path.

        The suffix of `path` says how: ".glb" (what `save` writes), ".obj" or ".ply"; see `encode`.

        Raises:
            ValueTypeError: the suffix is none of these.
            OSError: the file cannot be written.
        """
        path = Path(path)
        try:
            path.write_bytes(self.encode(path.suffix.lower()))
        except ValueTypeError as error:
            raise ValueTypeError(f"{os.fspath(path)}: {error}") from None
        return path

    def encode(self, suffix: str) -> bytes:
        """Return the mesh as a file with a suffix: ".glb" (what `to_bytes` gives), ".obj", ".ply".

        OBJ and PLY hold the colours of the vertices too, and the origin as a comment, but are not
        read back.

        Raises:
            ValueTypeError: the suffix is none of these.
        """
        comment = f"visionweave {json.dumps(self.origin.to_json())}"  # ASCII, and one line
        match suffix:
            case ".glb":
                return self.to_bytes()
            case ".obj":
                text = self._to_trimesh().export(file_type="obj", header=comment)
                assert isinstance(text, str)
                return text.encode()
            case ".ply":
                magic, form, rest = self._to_trimesh().export(file_type="ply").split(b"\n", 2)
                return b"\n".join([magic, form, f"comment {comment}".encode(), rest])
        raise ValueTypeError(f"a mesh is written as .glb, .obj or .ply; got {suffix!r}")

    def _to_trimesh(self, metadata: dict[str, Any] | None = None) -> Any:
        import trimesh  # half a second to import: only those who touch meshes pay it

        return trimesh.Trimesh(
            self.vertices,
            self.faces,
            vertex_colors=self.colours,
            metadata=metadata,
            process=False,  # keep every vertex, in order
        )

    @classmethod
    def _read(cls, data: bytes) -> Self:
        import trimesh

        fields = check_stamp("Mesh", _note(data))
        scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
        (mesh,) = scene.geometry.values()
        coloured = mesh.visual.kind == "vertex"
        return cls(
            np.asarray(mesh.vertices, np.float32),
            np.asarray(mesh.faces, np.int32),
            np.asarray(mesh.visual.vertex_colors) if coloured else None,
            **with_origin(fields),
        )


def _note(data: bytes) -> Any:
    """What `to_bytes` noted in the JSON chunk of a GLB; None when it is another's."""
    if not data.startswith(b"glTF"):
        raise ValueTypeError("expected a GLB; got other data, or a damaged header")
    # Twelve bytes of header, the chunk's length and type, four bytes each, then the chunk.
    scene = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    extras = scene["meshes"][0].get("extras", {})
    return json.loads(extras.get("visionweave", "null"))

"""The whole chain: how many objects of a scene become the right mesh, and where the rest goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.evaluation.scenes import photo_of, unseen
from training.evaluation.segmentation import iou
from training.world import Scene
from visionweave import Cutout, Masks, Mesh, Pipeline, Result, Tags
from visionweave.nodes.mesh import measure
from visionweave.nodes.mesh.camera import Camera
from visionweave.nodes.mesh.raster import silhouette
from visionweave.nodes.triposr.input import framed

__all__ = ["measure_chain", "silhouette_iou"]

_MASK, _SILHOUETTE, _SIDE = 0.7, 0.8, 128
_FRONT = Camera(0, 0, 1.9, 40)  # TripoSR's own input view


@dataclass(frozen=True, slots=True)
class _Object:
    """One cutout of the result, and what there is of it."""

    label: str
    mask: npt.NDArray[np.bool_]
    cutout: Cutout
    mesh: Mesh | None


def measure_chain(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return the share of objects that come out right, false objects per scene, and the losses.

    An object counts when its label is right, its mask has an IoU of at least 0.7 with the truth,
    and its mesh is watertight and, seen from the input view, covers the cutout with an IoU of at
    least 0.8. "lost_*" is the share of all objects that the chain loses at that link. A false
    object is a cutout with the name of nothing that it shows (IoU of 0.5).
    """
    pipeline = Pipeline.load("objects-to-3d").with_profile("mini")
    scenes = [scene for _, scene in unseen(styles, count)]
    results = pipeline.map(photo_of(scene, f"scene {i}") for i, scene in enumerate(scenes))
    fates: Counter[str] = Counter()
    false = 0
    for scene, result in zip(scenes, results, strict=True):
        objects = _objects(result)
        fates.update(_fate(scene, number, result, objects) for number in range(len(scene.objects)))
        false += sum(not _shows_its_name(scene, each) for each in objects)
    total = fates.total()
    lost = {
        f"lost_{link}": fates[link] / total for link in ("tag", "box", "mask", "cutout", "mesh")
    }
    return {"right": fates["right"] / total, "false_per_scene": false / len(scenes)} | lost


def silhouette_iou(mesh: Mesh, cutout: Cutout) -> float:
    """Return how well the mesh, seen from the input view, covers the cutout."""
    seen = silhouette(mesh, _FRONT, _SIDE)
    return iou(seen, framed(cutout, 0.85, _SIDE)[..., 3] > 0.5)


def _objects(result: Result) -> list[_Object]:
    masks: Masks = result["masks"]
    by_id = {int(number): index for index, number in enumerate(masks.boxes.ids)}
    meshes = {mesh.origin.object: mesh for mesh in result["meshes"]}
    found = []
    for cutout in result["cutouts"]:
        number = cutout.origin.object
        mask = masks.mask(by_id[number])
        found.append(_Object(cutout.origin.label, mask, cutout, meshes.get(number)))
    return found


def _fate(scene: Scene, number: int, result: Result, objects: list[_Object]) -> str:
    """Where an object got lost, or "right"."""
    thing, truth = scene.objects[number], scene.ids == number + 1
    tags: Tags = result["tags"]
    if thing.name not in tags.phrases:
        return "tag"
    boxes = result["boxes"]
    named = np.array([label == thing.name for label in boxes.labels], bool)
    corner = np.maximum(boxes.xyxy[:, :2], thing.xyxy[:2])
    shared = np.maximum(np.minimum(boxes.xyxy[:, 2:], thing.xyxy[2:]) - corner, 0).prod(1)
    own = (thing.xyxy[2:] - thing.xyxy[:2]).prod()
    if not (named & (shared / (boxes.areas + own - shared) >= 0.5)).any():
        return "box"
    masks: Masks = result["masks"]
    good = [m for m, label in zip(masks, masks.boxes.labels, strict=True) if label == thing.name]
    if not any(iou(mask, truth) >= _MASK for mask in good):
        return "mask"
    cut = [o for o in objects if o.label == thing.name and iou(o.mask, truth) >= _MASK]
    if not cut:
        return "cutout"
    return "right" if any(_good_mesh(each) for each in cut) else "mesh"


def _good_mesh(each: _Object) -> bool:
    if each.mesh is None or not measure(each.mesh).watertight:
        return False
    return silhouette_iou(each.mesh, each.cutout) >= _SILHOUETTE


def _shows_its_name(scene: Scene, each: _Object) -> bool:
    return any(
        thing.name == each.label and iou(each.mask, scene.ids == number + 1) >= 0.5
        for number, thing in enumerate(scene.objects)
    )

"""What breaks the law of a value is refused, in one sentence: what must be, and what came."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from visionweave.errors import ValueTypeError
from visionweave.values import (
    Boxes,
    Cutout,
    Embedding,
    Hits,
    Image,
    Masks,
    Mesh,
    Origin,
    Points,
    Scribble,
    Tags,
    Text,
    Views,
)

RGBA = np.zeros((2, 3, 4), np.uint8)
RGB = RGBA[..., :3]
BOX = (0, 0, 3, 2)
ONE = np.ones(1, np.float32)
CORNERS = np.eye(3, dtype=np.float32)
FACE = np.array([[0, 1, 2]], np.int32)
NAN, INF = float("nan"), float("inf")


def boxes(*xyxy: Any, image_hw: Any = (20, 30), **fields: Any) -> Boxes:
    return Boxes(list(xyxy) or [BOX], image_hw, **fields)


def views(**fields: Any) -> Views:
    given = {"images": RGB[None], "azimuth_deg": ONE, "elevation_deg": ONE, "distance": ONE}
    return Views(**given | {"fov_deg": 50.0} | fields)


WORDS: dict[str, Callable[[], object]] = {
    "Text.text must be a str; got int 3": lambda: Text(3),
    "Text.origin must be an Origin; got str 'b.jpg'": lambda: Text("a", "b.jpg"),
    "Tags.phrases must be several str; got the one str 'a cup'": lambda: Tags("a cup"),
    "Tags.phrases must be several str; got the one int 5": lambda: Tags(5),
    "Tags.phrases must hold no blank str; got ' '": lambda: Tags(("a", " ")),
    "Tags.phrases must be a str; got bytes b'a'": lambda: Tags((b"a",)),
    "Tags.scores must be in [0, 1]; got 0.5 to 1.5": lambda: Tags(("a", "b"), [1.5, 0.5]),
    "Tags.scores must have shape (N) with N=1; got (2,)": lambda: Tags(("a",), [1, 1]),
    "Tags.origin must be an Origin; got None": lambda: Tags((), origin=None),
    "Hits.keys must hold no blank str; got ''": lambda: Hits(("",), ONE),
    "Hits.scores must not rise: the best": lambda: Hits(("a", "b"), [0.1, 0.2]),
    "Hits.scores must be float32; got <U1 of shape (1,)": lambda: Hits(("a",), ["1"]),
    "Hits.query must be a str; got None": lambda: Hits((), [], None),
    "Origin.photo must be a str; got int 7": lambda: Origin(7),
    "Origin.object must be 0 or above; got -1": lambda: Origin(object=-1),
    "Origin.object must be int64; got float64 of shape ()": lambda: Origin(object=0.5),
    "Origin.score must be in [0, 1]; got 2": lambda: Origin(score=2),
    "Origin.score must hold finite numbers; got NaN or infinity": lambda: Origin(score=NAN),
    "Origin.box must have shape (4); got (2,)": lambda: Origin(box=(1, 2)),
    "Origin.flags must be several str; got the one str 'tiny'": lambda: Origin(flags="tiny"),
    "not the fields of an Origin: Origin.__init__() got an unexpected keyword argument 'foto'": (
        lambda: Origin.from_json({"foto": ""})
    ),
}
COORDINATES: dict[str, Callable[[], object]] = {
    "Boxes.xyxy must have shape (N, 4); got (4,)": lambda: Boxes([1, 2, 3, 4], (5, 5)),
    "Boxes.xyxy must be one array; got rows of several lengths": lambda: boxes(BOX, (0, 0)),
    "Boxes.xyxy must hold finite numbers; got NaN or infinity": lambda: boxes((0, 0, NAN, 1)),
    "Boxes.xyxy must hold finite numbers; got NaN": lambda: boxes((0, 0, 1e300, 1)),
    "Boxes.xyxy must be float32; got <U1 of shape (1, 4)": lambda: boxes(("a",) * 4),
    "box 1 is [5.0, 0.0, 4.0, 1.0] (is it x, y, width, height?)": (
        lambda: boxes(BOX, (5, 0, 4, 1))
    ),
    "Boxes.image_hw must be (height, width) in pixels; got (0, 5)": lambda: boxes(image_hw=(0, 5)),
    "Boxes.image_hw must be (height, width) in pixels; got (4.0, 5)": (
        lambda: boxes(image_hw=(4.0, 5))
    ),
    "Boxes.image_hw must be (height, width) in pixels; got 7": lambda: boxes(image_hw=7),
    "Boxes.scores must be in [0, 1]; got -0.1 to -0.1": lambda: boxes(scores=[-0.1]),
    "Boxes.ids must be different numbers from 0 up": lambda: boxes(BOX, BOX, ids=[3, 3]),
    "Boxes.ids must be different numbers": lambda: boxes(ids=[-1]),
    "Boxes.ids must be int32; got float64 of shape (1,)": lambda: boxes(ids=[1.0]),
    "Boxes.labels must have one entry per box, 1; got 'a'": lambda: boxes(labels="a"),
    "Boxes.labels must have one entry per box, 1; got ('a', 'b')": lambda: boxes(labels=("a", "b")),
    "Boxes.labels must have one entry per box, 1; got 5": lambda: boxes(labels=5),
    "Boxes.labels must be a str; got int 3": lambda: boxes(labels=[3]),
    "Boxes.flags must be several str; got the one str 'dark'": lambda: boxes(flags=["dark"]),
    "Boxes.photo must be a str; got None": lambda: boxes(photo=None),
    "Points.xy must have shape (N, 2); got (1, 3)": lambda: Points([[1, 2, 3]]),
    "Points.positive must be bool; got int64": lambda: Points([[1, 2]], np.array([1])),
    "Points.objects must have shape (N) with N=1": lambda: Points([[1, 2]], objects=[1, 2]),
    "Scribble.strokes must be several arrays; got 3": lambda: Scribble(3),
    "Scribble.strokes must have at least one point each; got none": lambda: Scribble(([],)),
    "Scribble.strokes must have shape (M, 2); got (2,)": lambda: Scribble(([1, 2],)),
    "Scribble.width must be above 0 pixels; got 0.0": lambda: Scribble((), width=0),
    "Scribble.width must hold finite numbers; got NaN or": lambda: Scribble((), width=INF),
    "Scribble.width must be float64; got bool of shape ()": lambda: Scribble((), width=True),
}
PIXELS: dict[str, Callable[[], object]] = {
    "Masks.boxes must be Boxes; got NoneType": lambda: Masks((), None),
    "Masks must have one mask per box; got 0 masks and 1 boxes": lambda: Masks((), boxes()),
    "Masks.counts must be several bytes; got b'0'": lambda: Masks(b"0", boxes()),
    "Masks.counts[0] must be a compressed COCO RLE of 600 pixels": lambda: Masks("0", boxes()),
    "pixels must be uint8; got float64 of shape (2, 3, 4)": lambda: Image.from_array(RGBA / 255),
    "pixels must have shape (H, W, 3); got (2, 3)": lambda: Image.from_array(RGBA[..., 0]),
    "pixels must have at least one pixel; got (0, 3, 4)": lambda: Image.from_array(RGBA[:0]),
    "expected Image; got int 3": lambda: Image.coerce(3),
    "Cutout.rgba must have shape (H, W, 4); got (2, 3, 3)": lambda: Cutout(RGB, BOX),
    "Cutout.rgba must have at least one pixel; got (2, 0, 4)": lambda: Cutout(RGBA[:, :0], BOX),
    "Cutout.region must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2; got [1.0, 0.0, 0.0, 2.0]": (
        lambda: Cutout(RGBA, (1, 0, 0, 2))
    ),
    "Cutout.region must have an area; got (0.0": lambda: Cutout(RGBA, (0, 0, 3, 0)),
    "Cutout.origin must be an Origin; got None": lambda: Cutout(RGBA, BOX, None),
    "Views.images must have at least one pixel": lambda: views(images=RGB[None, :0]),
    "Views.azimuth_deg must have shape (N) with N=1": lambda: views(azimuth_deg=[1, 2]),
    "Views.elevation_deg must be in [-90, 90]": lambda: views(elevation_deg=[-91]),
    "Views.distance must be above 0": lambda: views(distance=[0]),
    "Views.fov_deg must be in (0, 180); got 180.0": lambda: views(fov_deg=180),
    "Views.fov_deg must have shape (); got (1,)": lambda: views(fov_deg=[50]),
    "Views.origin must be an Origin; got str ''": lambda: views(origin=""),
}
THE_REST: dict[str, Callable[[], object]] = {
    "Embedding.vector must have length 1; got 3. Embedding.normalised makes one from any": (
        lambda: Embedding(3 * ONE, "s")
    ),
    "Embedding.vector must have shape (D); got (1, 1)": lambda: Embedding([[1]], "s"),
    "Embedding.space must be a name; got ''": lambda: Embedding(ONE, ""),
    "Embedding.space must be a str; got None": lambda: Embedding(ONE, None),
    "Embedding.origin must be an Origin; got str 'a'": lambda: Embedding(ONE, "s", "a"),
    "cannot normalise a vector of length 0": lambda: Embedding.normalised([0, 0], "s"),
    "vector must hold finite numbers": lambda: Embedding.normalised([1, NAN], "s"),
    "cannot compare embeddings of two spaces: 's' and 't'. Embed both with the same model": (
        lambda: Embedding(ONE, "s").similarity(Embedding(ONE, "t"))
    ),
    "two embeddings in 's' have 1 and 2 numbers; embed both with the same model": (
        lambda: Embedding(ONE, "s").similarity(Embedding.normalised([1, 0], "s"))
    ),
    "Mesh.vertices must have shape (V, 3); got (1, 2)": lambda: Mesh([[1, 2]], FACE),
    "Mesh.vertices must hold finite numbers": lambda: Mesh([[0, 0, INF]], FACE),
    "Mesh.faces must have at least one face; got none": lambda: Mesh(CORNERS, []),
    "Mesh.faces must index 3 vertices; got 1 to 3": lambda: Mesh(CORNERS, FACE + 1),
    "Mesh.faces must index 3 vertices; got -1 to 1": lambda: Mesh(CORNERS, FACE - 1),
    "Mesh.faces must be int32; got float64 of shape (1, 3)": lambda: Mesh(CORNERS, FACE / 1),
    "Mesh.colours must have shape (V, 4) with V=3; got (3, 3)": (
        lambda: Mesh(CORNERS, FACE, np.zeros((3, 3), np.uint8))
    ),
    "Mesh.origin must be an Origin; got dict {}": lambda: Mesh(CORNERS, FACE, origin={}),
}
WRONG = WORDS | COORDINATES | PIXELS | THE_REST


@pytest.mark.parametrize("said", WRONG)
def test_it_says(said: str) -> None:
    with pytest.raises(ValueTypeError, match=re.escape(said)) as caught:
        WRONG[said]()
    assert len(str(caught.value)) < 250
    assert isinstance(caught.value, ValueError)


JSON: dict[str, tuple[Any, Any]] = {
    "not the JSON fields of Boxes: TypeError: Boxes.__init__() missing 1 required": (
        Boxes,
        {"xyxy": []},
    ),
    "not the JSON fields of Boxes: TypeError: Boxes.__init__() got an unexpected": (
        Boxes,
        {"xyxy": [], "image_hw": [1, 1], "boxes": []},
    ),
    "not the JSON fields of Masks: KeyError: 'counts'": (Masks, {}),
    "not the JSON fields of Masks: AttributeError: 'int'": (Masks, {"counts": [3]}),
    "not the fields of an Origin": (Text, {"text": "a", "origin": [1]}),
    "Tags.scores must be in [0, 1]; got 2 to 2": (Tags, {"phrases": ["a"], "scores": [2]}),
    "expected Boxes; got list [1, 2]": (Boxes, [1, 2]),
    "expected Hits; got Text(text='a', origin=<unknown>)": (Hits, Text("a")),
    "expected Hits; got None": (Hits, None),
    "expected Hits; got an array of uint8 (2, 3, 4)": (Hits, RGBA),
    "expected Text; got list of 9": (Text, [0] * 9),
}


@pytest.mark.parametrize("said", JSON)
def test_plain_data_that_is_no_value_is_refused(said: str) -> None:
    kind, data = JSON[said]
    with pytest.raises(ValueTypeError, match=re.escape(said)):
        kind.coerce(data)

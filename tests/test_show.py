"""Pipelines drawn as text, as Mermaid flowcharts and as SVG pictures."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from visionweave import (
    Boxes,
    Cutout,
    Embedding,
    Image,
    Input,
    Masks,
    Mesh,
    Node,
    Pipeline,
    Tags,
    Text,
    node,
)
from visionweave.show import to_mermaid, to_svg, to_text
from visionweave.show.coordinates import x_coordinates
from visionweave.show.layering import Edge, make_layering
from visionweave.show.measure import bold_width, mono_width


@node("show.tag")
class Tag(Node):
    """Tags."""

    def run(self, image: Image) -> Tags:
        raise NotImplementedError


@node("show.detect")
class Detect(Node):
    """Boxes."""

    def __init__(self, threshold: float = 0.3, prompt: str = "", names: tuple[str, ...] = ()):
        pass

    def run(self, image: Image, phrases: Tags) -> Boxes:
        raise NotImplementedError


@node("show.segment")
class Segment(Node):
    """Masks."""

    def run(self, image: Image, boxes: Boxes) -> Masks:
        raise NotImplementedError


@node("show.cut")
class Cut(Node):
    """Cutouts."""

    def run(self, image: Image, masks: Masks) -> list[Cutout]:
        raise NotImplementedError


@node("show.mesh")
class ToMesh(Node):
    """A mesh."""

    def __init__(self, resolution: int = 256):
        pass

    def run(self, cutout: Cutout) -> Mesh:
        raise NotImplementedError


@node("show.embed")
class Embed(Node):
    """An embedding."""

    def run(self, cutout: Cutout) -> Embedding:
        raise NotImplementedError


class Parts(NamedTuple):
    boxes: Boxes
    tags: Tags


@node("show.parse")
class Parse(Node):
    """Boxes and tags."""

    def run(self, image: Image) -> Parts:
        raise NotImplementedError


@node("show.tell")
class Tell(Node):
    """A text."""

    def run(self, tags: Tags, boxes: Boxes) -> Text:
        raise NotImplementedError


@node("show.mix")
class Mix(Node):
    """One image of up to three."""

    def __init__(self, weight: float = 0.0, a: int = 0, b: int = 0, c: int = 0, d: int = 0):
        pass

    def run(self, first: Image, second: Image | None = None, third: Image | None = None) -> Image:
        raise NotImplementedError


@node("show.settings")
class Settings(Node):
    """Many settings."""

    def __init__(
        self, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int
    ) -> None:
        pass

    def run(self, image: Image) -> Image:
        raise NotImplementedError


# Pipelines -------------------------------------------------------------------------------------


def described(pipeline: Pipeline, description: str) -> Pipeline:
    graph = dataclasses.replace(pipeline.graph, description=description)
    return Pipeline.from_graph(graph)


def chain() -> Pipeline:
    image = Input("photo", Image)
    for weight in (0.0, 0.25, 0.5, 0.75):
        image = Mix(weight)(image)
    return Pipeline(result=image)


def objects_to_3d() -> Pipeline:
    photo = Input("photo", Image)
    tags = Tag()(photo)
    boxes = Detect(threshold=0.35)(photo, tags)
    masks = Segment()(photo, boxes)
    cutouts = Cut()(photo, masks)
    meshes = ToMesh()(cutouts)
    pipeline = Pipeline(tags=tags, boxes=boxes, masks=masks, cutouts=cutouts, meshes=meshes)
    return described(pipeline, "objects-to-3d: every object of a photo as a 3D model\n\nSlow.")


def diamond() -> Pipeline:
    top = Mix(0.1)(Input("photo", Image))
    return Pipeline(result=Mix(0.4)(Mix(0.2)(top), Mix(0.3)(top)))


def two_outputs() -> Pipeline:
    photo, words = Input("photo", Image), Input("words", Tags, default=["cat", "dog"])
    parts = Parse()(photo)
    cutouts = Cut()(photo, Segment()(photo, parts.boxes))
    return Pipeline(
        story=Tell()(parts.tags, parts.boxes),
        other=Tell()(parts.tags, Detect()(photo, words)),
        vectors=Embed()(cutouts),
        meshes=ToMesh()(cutouts),
    )


def long_texts() -> Pipeline:
    photo = Input("photo", Image)
    prompt = "画面里有什么东西？请列出所有物体。" * 5 + '<b> & "]]>" \x1b[31m'
    phrases = ["a red apple", '"quoted" <&>', "$100", "x" * 120, *["a person with a hat"] * 9]
    boxes = Detect(prompt=prompt)(photo, phrases)
    name = "the_boxes_of_all_the_things_that_anybody_could_ever_wish_to_find"
    pipeline = Pipeline(**{name: boxes, "i": Segment()(photo, boxes), "W" * 30: Tag()(photo)})
    return described(pipeline, "一个很长的标题，" * 30)


def many_settings() -> Pipeline:
    return Pipeline(image=Settings(1, 2, 3, 4, 5, 6, 7, 8, 9)(Input("photo", Image)))


def only_an_input() -> Pipeline:
    return Pipeline(copy=Input("photo", Image))


def random_dag(seed: int, steps: int = 30) -> Pipeline:
    draw = random.Random(seed)
    pool = [Input("photo", Image), Input("mask", Image)]
    for index in range(steps):
        near = pool[-8:] if draw.random() < 0.8 else pool
        count = min(draw.choice([1, 1, 2, 2, 3]), len(near))
        pool.append(Mix(index + 1.0)(*draw.sample(near, count)))
    return Pipeline(**{f"out_{index}": handle for index, handle in enumerate(pool[-4:])})


PIPELINES: dict[str, Callable[[], Pipeline]] = {
    "a chain": chain,
    "objects to 3d": objects_to_3d,
    "a diamond": diamond,
    "a step with two outputs": two_outputs,
    "long names and Chinese settings": long_texts,
    "many settings": many_settings,
    "no step": only_an_input,
    "a random graph": lambda: random_dag(1),
    "another random graph": lambda: random_dag(7, 45),
}
every_pipeline = pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)


# Text ------------------------------------------------------------------------------------------


def test_the_text_of_a_pipeline() -> None:
    photo, words = Input("photo", Image), Input("words", Tags, default=["cat", "dog"])
    parts = Parse()(photo)
    boxes = Detect(threshold=0.5, names=("a",))(photo, words)
    cutouts = Cut()(photo, Segment()(photo, parts.boxes))
    pipeline = Pipeline(boxes=boxes, meshes=ToMesh(512)(cutouts), tags=parts.tags)
    expected = """\
Meshes of all that the parser sees
in a photo.

inputs
  photo  Image
  words  Tags   default: [cat, dog]

steps
  tags          show.parse                  once per photo
                image   $photo
                .boxes  Boxes
                .tags   Tags
  boxes         show.detect   Boxes         once per photo
                image      $photo
                phrases    $words
                threshold  0.5
                names      [a]
  show_segment  show.segment  Masks         once per photo
                image  $photo
                boxes  $tags.boxes
  show_cut      show.cut      list[Cutout]  once per photo
                image  $photo
                masks  $show_segment
  meshes        show.mesh     list[Mesh]    once per object of 'show_cut'
                cutout      $show_cut
                resolution  512

outputs
  boxes   Boxes       $boxes
  meshes  list[Mesh]  $meshes
  tags    Tags        $tags.tags
"""
    text = to_text(described(pipeline, "Meshes of all that the parser sees\nin a photo."))
    assert text == expected


def test_the_text_of_a_pipeline_without_photos_and_of_one_without_steps() -> None:
    lists = Pipeline(told=Tell()(Input("tags", list[Tags]), Input("boxes", Boxes)))
    assert "show.tell  list[Text]  once per element of 'tags'" in to_text(lists)
    once = Pipeline(told=Tell()(Input("tags", Tags), Input("boxes", Boxes)))
    assert "show.tell  Text  once per item" in to_text(once)
    assert to_text(only_an_input()) == (
        "inputs\n  photo  Image\n\noutputs\n  copy  Image  $photo\n"
    )


def test_the_text_says_which_steps_never_run() -> None:
    photo = Input("photo", Image)
    twins = Pipeline(one=Mix(1)(photo), two=Mix(1)(photo), three=Mix(3)(photo))
    outputs = {name: ref for name, ref in twins.graph.outputs.items() if name != "three"}
    pipeline = Pipeline.from_graph(dataclasses.replace(twins.graph, outputs=outputs))
    runs = re.findall(r"(\w+) +show.mix +Image +(.+)", to_text(pipeline))
    assert runs == [
        ("one", "once per photo"),
        ("two", "never: it is the same as 'one'"),
        ("three", "never: no output needs it"),
    ]


def test_long_values_are_broken_between_words_and_aligned() -> None:
    phrases = [f"thing number {index}" for index in range(20)]
    text = to_text(Pipeline(boxes=Detect()(Input("photo", Image), phrases)))
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if "phrases" in line)
    assert lines[first].startswith("         phrases  [thing number 0, ")
    assert {line[:18] for line in lines[first + 1 : first + 4]} == {" " * 18}
    assert max(map(len, lines)) <= 100
    assert " ".join(text.split()).count("thing number") == 20


def test_chinese_letters_take_two_columns() -> None:
    photo = Input("photo", Image)
    text = to_text(Pipeline(a=Detect(prompt="全" * 30 + " " + "部" * 30)(photo, "cat")))
    assert f"prompt   {'全' * 30}\n{' ' * 14}{'部' * 30}\n" in text


def test_the_terminal_obeys_nothing_in_a_pipeline() -> None:
    pipeline = described(long_texts(), "red \x1b[31m")
    assert "\x1b" not in to_text(pipeline) + to_mermaid(pipeline) + to_svg(pipeline)


def test_data_is_written_as_in_a_pipeline_file() -> None:
    photo = Input("photo", Image)
    boxes = Boxes.empty((4, 6))
    pipeline = Pipeline(
        told=Tell()(Input("tags", Tags, default={"phrases": ["a"], "scores": [0.5]}), boxes),
        found=Detect(names=("", " a", "$b", "true"))(photo, "x, y"),
    )
    text = to_text(pipeline)
    assert "default: {phrases: [a], scores: [0.5]}" in text
    assert "Boxes(" in text
    assert 'names    ["", " a", "$b", true]' in text
    assert "phrases  x, y" in text


# Mermaid ---------------------------------------------------------------------------------------


def test_the_flowchart_of_a_pipeline() -> None:
    photo = Input("photo", Image)
    parts = Parse()(photo)
    cutouts = Cut()(photo, Segment()(photo, parts.boxes))
    pipeline = Pipeline(end=ToMesh(512)(cutouts), tags=parts.tags)
    expected = """\
flowchart TD
    input_photo[/"<b>photo</b><br>Image"/]
    step_tags["<b>tags</b><br>show.parse"]
    step_show_segment["<b>show_segment</b><br>show.segment"]
    step_show_cut["<b>show_cut</b><br>show.cut"]
    step_end["<b>end</b><br>show.mesh<br>resolution: 512<br><i>once per object of 'show_cut'</i>"]
    output_end(["<b>end</b>"])
    output_tags(["<b>tags</b>"])
    input_photo -->|"Image"| step_tags
    input_photo -->|"Image"| step_show_segment
    step_tags -->|"boxes: Boxes"| step_show_segment
    input_photo -->|"Image"| step_show_cut
    step_show_segment -->|"Masks"| step_show_cut
    step_show_cut ==>|"list[Cutout]"| step_end
    step_end ==>|"list[Mesh]"| output_end
    step_tags -->|"tags: Tags"| output_tags
"""
    assert to_mermaid(pipeline) == expected


@every_pipeline
def test_the_flowchart_has_each_edge_once(make: Callable[[], Pipeline]) -> None:
    pipeline = make()
    arrows = [
        (words[0], words[-1])
        for words in map(str.split, to_mermaid(pipeline).splitlines())
        if len(words) > 2 and words[1][:3] in ("-->", "==>")
    ]
    graph = pipeline.graph
    kind = dict.fromkeys(graph.inputs, "input") | dict.fromkeys(graph.steps, "step")
    expected = [
        (f"{kind[ref.name]}_{ref.name}", f"step_{step.name}")
        for step in graph.steps.values()
        for ref in set(step.refs())
    ]
    expected += [
        (f"{kind[ref.name]}_{ref.name}", f"output_{name}") for name, ref in graph.outputs.items()
    ]
    assert sorted(arrows) == sorted(expected)


def test_an_image_on_two_ports_is_one_edge() -> None:
    photo = Input("photo", Image)
    assert to_mermaid(Pipeline(both=Mix()(photo, photo))).count("-->") == 2
    assert len(Picture(to_svg(Pipeline(both=Mix()(photo, photo)))).links) == 2


def test_no_text_ends_a_label_of_a_flowchart() -> None:
    pipeline = Pipeline(a=Detect(prompt='x"]; <b> & `x` #1 {y}')(Input("photo", Image), "cat"))
    assert "prompt: x#34;]#59; #60;b#62; #38; #96;x#96; #35;1 #123;y#125;" in to_mermaid(pipeline)


# SVG -------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"
Rect = tuple[float, float, float, float]
Point = tuple[float, float]


class Picture:
    """What is drawn in an SVG file, read from its XML."""

    def __init__(self, svg: str) -> None:
        self.root = ET.fromstring(svg)
        self.boxes = [
            group
            for group in self.root.iter(f"{SVG}g")
            if group.get("class") in ("input", "step", "output")
        ]
        paths = list(self.root.iter(f"{SVG}path"))
        self.links = [p for p in paths if (p.get("class") or "").startswith("link")]
        self.cores = [p for p in paths if p.get("class") == "core"]
        self.labels = [g for g in self.root.iter(f"{SVG}g") if g.get("class") == "label"]

    def frames(self) -> list[Rect]:
        return [rect_of(box, "frame") for box in self.boxes]


def rect_of(group: ET.Element, kind: str | None) -> Rect:
    (rect,) = (each for each in group.iter(f"{SVG}rect") if each.get("class") == kind)
    x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def texts_of(group: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    for text in group.iter(f"{SVG}text"):
        yield text, text.text or ""


def points_of(path: str) -> list[Point]:
    """Points on a path of M, V and C, close to each other."""
    points: list[Point] = []
    for command, numbers in re.findall(r"([MVC])([-\d. ]+)", path):
        values = [float(number) for number in numbers.split()]
        if command == "M":
            points.append((values[0], values[1]))
        elif command == "V":
            x, y = points[-1]
            points += [(x, y + (values[0] - y) * step / 40) for step in range(1, 41)]
        else:
            points += list(bezier(points[-1], *zip(values[::2], values[1::2], strict=True)))
    return points


def bezier(a: Point, b: Point, c: Point, d: Point) -> Iterator[Point]:
    for step in range(1, 41):
        t = step / 40
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x, y = (
            sum(w * p[axis] for w, p in zip(weights, (a, b, c, d), strict=True)) for axis in (0, 1)
        )
        yield x, y


def overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(point: Point, rect: Rect) -> bool:
    return rect[0] < point[0] < rect[2] and rect[1] < point[1] < rect[3]


@every_pipeline
def test_boxes_and_labels_do_not_overlap_and_lie_on_the_paper(make: Callable[[], Pipeline]) -> None:
    picture = Picture(to_svg(make()))
    rects = picture.frames() + [rect_of(label, None) for label in picture.labels]
    assert [pair for pair in itertools.combinations(rects, 2) if overlap(*pair)] == []
    _, _, width, height = map(float, picture.root.attrib["viewBox"].split())
    (body,) = (g for g in picture.root.iter(f"{SVG}g") if g.get("transform"))
    left, top = map(float, re.findall(r"[\d.]+", body.attrib["transform"]))
    paper = (-left, -top, width - left, height - top)
    assert all(
        paper[0] < r[0] and paper[1] < r[1] and r[2] < paper[2] and r[3] < paper[3] for r in rects
    )


@every_pipeline
def test_every_name_occurs(make: Callable[[], Pipeline]) -> None:
    pipeline = make()
    picture = Picture(to_svg(pipeline))
    titles = [
        (box.get("class"), (box.findtext(f"{SVG}title") or "").split("\n")[0])
        for box in picture.boxes
    ]
    graph = pipeline.graph
    assert titles == [
        *(("input", name) for name in graph.inputs),
        *(("step", name) for name in graph.steps),
        *(("output", name) for name in graph.outputs),
    ]


@every_pipeline
def test_every_edge_is_an_arrow_from_its_box_to_its_box(make: Callable[[], Pipeline]) -> None:
    pipeline = make()
    picture = Picture(to_svg(pipeline))
    frames = picture.frames()
    pairs = []
    for link in picture.links:
        assert link.get("marker-end") == "url(#arrow)"
        points = points_of(link.attrib["d"])
        start, (x, y) = points[0], points[-1]
        sources = [
            i
            for i, r in enumerate(frames)
            if start[1] == pytest.approx(r[3], abs=0.11) and r[0] < start[0] < r[2]
        ]
        targets = [
            i
            for i, r in enumerate(frames)
            if y + 9 == pytest.approx(r[1], abs=0.11) and r[0] < x < r[2]
        ]
        assert (len(sources), len(targets)) == (1, 1)
        pairs.append((sources[0], targets[0]))
        others = [r for i, r in enumerate(frames) if i not in (sources[0], targets[0])]
        assert not any(inside(point, rect) for point in points for rect in others)
    graph = pipeline.graph
    index = {name: place for place, name in enumerate([*graph.inputs, *graph.steps])}
    expected = [
        (index[ref.name], index[step.name])
        for step in graph.steps.values()
        for ref in set(step.refs())
    ]
    expected += [
        (index[ref.name], place) for place, ref in enumerate(graph.outputs.values(), len(index))
    ]
    assert sorted(pairs) == sorted(expected)


@every_pipeline
def test_texts_fit_into_their_boxes(make: Callable[[], Pipeline]) -> None:
    picture = Picture(to_svg(make()))
    groups = [(box, rect_of(box, "frame")) for box in picture.boxes]
    groups += [(label, rect_of(label, None)) for label in picture.labels]
    for group, (left, top, right, bottom) in groups:
        for element, text in texts_of(group):
            bold = element.get("class") == "name"
            half = (drawn_bold(text, 14) if bold else drawn_mono(text, 11)) / 2
            x, y = float(element.attrib["x"]), float(element.attrib["y"])
            assert left + 4 <= x - half
            assert x + half <= right - 4
            assert top + 8 <= y <= bottom - 4


def test_lists_flow_along_double_lines_to_piles() -> None:
    picture = Picture(to_svg(objects_to_3d()))
    many = [
        link.findtext(f"{SVG}title") for link in picture.links if link.get("class") == "link many"
    ]
    assert many == [
        "cutouts → meshes.cutout: list[Cutout]",
        "cutouts → cutouts: list[Cutout]",
        "meshes → meshes: list[Mesh]",
    ]
    assert len(picture.cores) == 3
    labels = [text for label in picture.labels for _, text in texts_of(label)]
    assert labels == ["Tags", "Boxes", "Masks", "list[Cutout]", "list[Mesh]"]
    piles = [box for box in picture.boxes if any(r.get("class") == "pile" for r in box)]
    assert [text for _, text in texts_of(piles[0])] == [
        "meshes",
        "show.mesh",
        "once per object of 'cutouts'",
    ]
    assert len(piles) == 1


def test_the_steps_of_a_chain_stand_below_each_other() -> None:
    centres = {round((left + right) / 2) for left, _, right, _ in Picture(to_svg(chain())).frames()}
    assert len(centres) == 1
    steps = [box for box in Picture(to_svg(objects_to_3d())).boxes if box.get("class") == "step"]
    frames = [rect_of(box, "frame") for box in steps]
    assert len({round((left + right) / 2) for left, _, right, _ in frames}) == 1


def test_a_box_shows_what_is_set_and_says_what_it_leaves_out() -> None:
    (_, box, _) = Picture(to_svg(many_settings())).boxes
    lines = [text for _, text in texts_of(box)]
    settings = [f"{name}: {value}" for name, value in zip("abcdefg", range(1, 8), strict=True)]
    assert lines == ["image", "show.settings", *settings, "and 2 more"]
    assert "h: 8\ni: 9" in (box.findtext(f"{SVG}title") or "")


def test_the_title_is_the_first_line_of_the_description() -> None:
    root = Picture(to_svg(objects_to_3d())).root
    assert root.findtext(f"{SVG}text") == "objects-to-3d: every object of a photo as a 3D model"
    assert root.findtext(f"{SVG}desc") == objects_to_3d().graph.description
    assert Picture(to_svg(chain())).root.find(f"{SVG}text") is None


def test_a_long_title_is_broken_into_lines() -> None:
    words = " ".join(f"word{index}" for index in range(30))
    root = Picture(to_svg(described(chain(), words))).root
    lines = [text.text or "" for text in root.findall(f"{SVG}text")]
    assert len(lines) > 2
    assert " ".join(lines) == words
    width = float(root.attrib["width"])
    assert all(drawn_bold(line, 14) < width for line in lines)
    heading = Picture(to_svg(long_texts())).root.findtext(f"{SVG}text") or ""
    assert heading.startswith("一个很长的标题")
    assert heading.endswith("…")


def test_the_picture_needs_nothing_but_itself() -> None:
    svg = to_svg(long_texts())
    assert svg.count("http") == 1  # the name of the XML namespace
    for word in ("<script", "href", "@import", "@font-face", "url(http"):
        assert word not in svg
    assert "@media (prefers-color-scheme:dark)" in svg


@every_pipeline
def test_the_same_pipeline_gives_the_same_drawing(make: Callable[[], Pipeline]) -> None:
    for draw in (to_text, to_mermaid, to_svg):
        assert draw(make()) == draw(make())


# Layout ----------------------------------------------------------------------------------------


def test_crossings_are_taken_out() -> None:
    layering = make_layering(6, [Edge(0, 5), Edge(1, 4), Edge(2, 3)])
    (above, below) = layering.layers
    assert [layering.down[vertex] for vertex in above] == [[vertex] for vertex in below]


def test_an_input_stands_just_above_its_first_reader() -> None:
    layering = make_layering(5, [Edge(0, 2), Edge(2, 3), Edge(3, 4), Edge(1, 4)])
    assert [sorted(row) for row in layering.layers] == [[0], [2], [1, 3], [4]]


def test_long_edges_of_one_output_share_their_way() -> None:
    edges = [Edge(0, 1), Edge(1, 2), Edge(2, 3), Edge(0, 2), Edge(0, 3), Edge(0, 3, "other")]
    ways = make_layering(4, edges).ways
    assert ways[3][1] == ways[4][1]
    assert ways[4][1:3] != ways[5][1:3]
    assert [len(way) for way in ways] == [2, 2, 2, 3, 4, 4]


@pytest.mark.parametrize("seed", range(20))
def test_neighbours_keep_their_order_and_distance(seed: int) -> None:
    draw = random.Random(seed)
    edges = [
        Edge(draw.randrange(target), target)
        for target in range(1, 25)
        for _ in range(draw.choice([1, 2]))
    ]
    layering = make_layering(25, list(dict.fromkeys(edges)))
    width = {vertex: draw.choice([0.0, 40.0, 200.0]) for row in layering.layers for vertex in row}

    def distance(left: int, right: int) -> float:
        return (width[left] + width[right]) / 2 + 20

    xs = x_coordinates(layering, distance)
    for row in layering.layers:
        for left, right in itertools.pairwise(row):
            assert xs[right] - xs[left] >= distance(left, right) - 1e-6


# The widths of DejaVu Sans Bold, from its table hmtx, in 1/2048 em, from the space on.
WIDTHS = """
713 934 1067 1716 1425 2052 1786 627 936 936 1071 1716 778 850 778 748
1425 1425 1425 1425 1425 1425 1425 1425 1425 1425 819 819 1716 1716 1716 1188
2048 1585 1561 1503 1700 1399 1399 1681 1714 762 762 1587 1305 2038 1714 1741
1501 1741 1577 1475 1397 1663 1585 2259 1579 1483 1485 936 748 936 1716 1024
1024 1382 1466 1214 1466 1389 891 1466 1458 702 702 1362 702 2134 1458 1407
1466 1466 1010 1219 979 1458 1335 1892 1321 1335 1192 1458 748 1458 1716
"""
DEJAVU = [int(width) for width in WIDTHS.split()]


def drawn_bold(text: str, size: float) -> float:
    """The width in the widest of the usual fonts."""
    return sum(drawn(letter, DEJAVU) for letter in text) * size


def drawn_mono(text: str, size: float) -> float:
    return sum(drawn(letter, [1233] * 95) for letter in text) * size


def drawn(letter: str, ascii_widths: list[int]) -> float:
    return ascii_widths[ord(letter) - 32] / 2048 if " " <= letter <= "~" else 1.0


def test_no_letter_is_wider_than_it_is_measured() -> None:
    for code in range(32, 127):
        assert bold_width(chr(code), 1) >= drawn_bold(chr(code), 1)
        assert mono_width(chr(code), 1) >= drawn_mono(chr(code), 1)
    assert bold_width("中", 10) >= 10
    assert mono_width("🍎", 10) > mono_width("中", 10) >= 10
    assert mono_width("e\N{COMBINING ACUTE ACCENT}", 10) == mono_width("e", 10)

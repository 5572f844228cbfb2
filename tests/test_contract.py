"""What a node is, every way to break the contract, and what a built node knows of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import pytest
from pydantic import Field

from visionweave import Boxes, Cutout, Image, ModelNode, Node, Points, Tags, Text, node
from visionweave.contract import NodeSpec, Port
from visionweave.errors import NodeError, PipelineError
from visionweave.types import PortType

if TYPE_CHECKING:
    from visionweave import Masks

Score = Annotated[float, Field(ge=0, le=1)]


@node("toy.filter", version=3, paper="arXiv:0000.00000", license="MIT")
class Filter(Node):
    """Keep the boxes that score well.

    And more is said here.
    """

    def __init__(self, min_score: Score = 0.5, *, labels: tuple[str, ...] = ()) -> None:
        self.min_score, self.labels = min_score, labels

    def run(self, boxes: Boxes, image: Image | None = None) -> Boxes:
        return boxes[boxes.scores >= self.min_score]


class Found(NamedTuple):
    boxes: Boxes
    cutouts: list[Cutout]


@node("toy.find")
class Find(Node):
    async def run(self, prompt: Boxes | Points, hints: list[Text]) -> Found: ...


@node("toy.resize")
class Resize(Node):
    def __init__(self, longest: int | None = None, shortest: int | None = None) -> None:
        if (longest is None) == (shortest is None):
            raise ValueError("give longest or shortest")

    def run(self, image: Image) -> Image:
        return image


def test_ports_and_outputs_are_read_from_run() -> None:
    assert Filter.spec.ports == {
        "boxes": Port("boxes", PortType((Boxes,)), optional=False),
        "image": Port("image", PortType((Image,)), optional=True),
    }
    assert Filter.spec.outputs == {"": PortType((Boxes,))}
    assert Find.spec.ports["prompt"].type == PortType((Boxes, Points))
    assert Find.spec.outputs == {
        "boxes": PortType((Boxes,)),
        "cutouts": PortType((Cutout,), many=True),
    }


def test_a_spec_says_what_the_class_says() -> None:
    spec = Filter.spec
    assert (spec.id, spec.version, spec.cls) == ("toy.filter", 3, Filter)
    assert (spec.paper, spec.license) == ("arXiv:0000.00000", "MIT")
    assert spec.summary == "Keep the boxes that score well."
    assert spec.signature == "boxes: Boxes, image?: Image -> Boxes"
    assert not spec.is_async
    assert Find.spec.is_async
    assert Find.spec.summary == ""
    assert Find.spec.signature == (
        "prompt: Boxes | Points, hints: list[Text] -> boxes: Boxes, cutouts: list[Cutout]"
    )


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        pytest.param(lambda: Filter(), {"min_score": 0.5, "labels": []}, id="defaults"),
        pytest.param(lambda: Filter(0.7), {"min_score": 0.7, "labels": []}, id="by place"),
        pytest.param(
            lambda: Filter(min_score=1, labels=("cat",)),
            {"min_score": 1.0, "labels": ["cat"]},
            id="by name",
        ),
        pytest.param(
            lambda: Filter(labels=["cat"]), {"min_score": 0.5, "labels": ["cat"]}, id="list"
        ),
    ],
)
def test_settings_are_plain_json(build: Callable[[], Filter], settings: dict[str, Any]) -> None:
    built = build()
    assert built.settings == settings
    assert json.loads(json.dumps(dict(built.settings))) == settings
    assert built.labels == tuple(settings["labels"])


def test_settings_cannot_be_changed_behind_the_nodes_back() -> None:
    built = Filter()
    with pytest.raises(TypeError, match="does not support item assignment"):
        built.settings["min_score"] = 0.1  # type: ignore[index]
    assert repr(built) == "Filter(min_score=0.5, labels=[])"
    assert repr(Find()) == "Find()"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        pytest.param(
            lambda: Filter(1.5),
            "toy.filter: setting 'min_score' is out of range\n"
            "  expected: number, 0 to 1\n"
            "  got:      1.5",
            id="out of range",
        ),
        pytest.param(
            lambda: Filter(0.5, ("cat",)),  # type: ignore[misc]
            "toy.filter: too many settings\n"
            "  expected: at most 1 by place: min_score\n"
            "  got:      2",
            id="too many by place",
        ),
        pytest.param(
            lambda: Find(1),  # type: ignore[call-arg]
            "toy.find: too many settings\n  expected: at most 0 by place\n  got:      1",
            id="a node without settings",
        ),
        pytest.param(
            lambda: Filter(0.5, min_score=0.6),  # type: ignore[misc]
            "toy.filter: setting 'min_score' is given twice\n"
            "  fix:      give it once, by place or by name",
            id="given twice",
        ),
        pytest.param(
            lambda: Filter(min_scor=0.5),  # type: ignore[call-arg]
            "toy.filter: there is no setting 'min_scor'\n"
            "  expected: one of the settings min_score, labels\n"
            "  fix:      did you mean min_score?",
            id="misspelt",
        ),
        pytest.param(
            lambda: Find(score=1),  # type: ignore[call-arg]
            "toy.find: there is no setting 'score'\n  expected: no settings",
            id="no settings at all",
        ),
        pytest.param(
            lambda: Filter(boxes=3),  # type: ignore[call-arg]
            "toy.filter: 'boxes' is a port, not a setting\n"
            "  fix:      connect it by calling the node: Filter(...)(boxes=...)",
            id="port given as a setting",
        ),
        pytest.param(
            lambda: Resize(longest=512, shortest=256),
            "toy.resize: these settings do not go together: give longest or shortest\n"
            "  got:      longest: 512, shortest: 256",
            id="settings that do not go together",
        ),
        pytest.param(
            lambda: Resize(),
            "toy.resize: these settings do not go together: give longest or shortest",
            id="defaults that do not go together",
        ),
        pytest.param(
            lambda: Filter(2, labels=3, size=1),  # type: ignore[arg-type, call-arg]
            "3 problems\n"
            "toy.filter: setting 'min_score' is out of range\n"
            "  expected: number, 0 to 1\n"
            "  got:      2\n"
            "toy.filter: setting 'labels' does not fit\n"
            "  expected: list (each: text)\n"
            "  got:      3\n"
            "toy.filter: there is no setting 'size'\n"
            "  expected: one of the settings min_score, labels",
            id="all at once",
        ),
    ],
)
def test_wrong_settings_are_refused_when_the_node_is_built(
    build: Callable[[], Node], said: str
) -> None:
    with pytest.raises(PipelineError, match=r"^(toy|\d)") as caught:
        build()
    assert str(caught.value) == said


def test_what_init_finds_wrong_keeps_its_cause() -> None:
    with pytest.raises(PipelineError, match="give longest or shortest") as caught:
        Resize()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_fault_in_init_says_whose_it_is_and_keeps_its_cause() -> None:
    @node("toy.broken")
    class Broken(Node):
        def __init__(self, size: int = 1) -> None:
            raise KeyError("a fault of the author")

        def run(self, image: Image) -> Image: ...

    with pytest.raises(
        PipelineError, match=r"toy\.broken: .*Broken\.__init__ raised KeyErr"
    ) as caught:
        Broken()
    assert "'a fault of the author'\n  fix:      repair the node" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_node_inherits_ports_settings_and_their_checks() -> None:
    @node("toy.filter_more")
    class FilterMore(Filter):
        """Keep fewer."""

    assert FilterMore.spec.signature == Filter.spec.signature
    assert FilterMore(0.7).settings == {"min_score": 0.7, "labels": []}
    assert FilterMore(0.7).min_score == 0.7
    with pytest.raises(PipelineError, match=r"toy\.filter_more: setting 'min_score' is out of ra"):
        FilterMore(7)


def test_a_node_may_have_settings_of_its_own_and_pass_others_on() -> None:
    @node("toy.filter_and_sort")
    class FilterAndSort(Filter):
        def __init__(self, min_score: Score = 0.9, order: str = "score") -> None:
            super().__init__(min_score, labels=("a",))
            self.order = order

        def run(self, boxes: Boxes) -> Boxes: ...  # type: ignore[override]

    built = FilterAndSort(order="area")
    assert built.settings == {"min_score": 0.9, "order": "area"}
    assert (built.min_score, built.labels, built.order) == (0.9, ("a",), "area")
    assert Filter().settings == {"min_score": 0.5, "labels": []}


def test_a_plain_subclass_is_the_same_node() -> None:
    class Louder(Filter):
        pass

    assert Louder(0.7).settings == {"min_score": 0.7, "labels": []}
    with pytest.raises(PipelineError, match="'min_score' is out of range"):
        Louder(7)


class Base(Node):
    def run(self, image: Image) -> Image: ...


def no_run() -> type:
    class Blur(Node):
        pass

    return Blur


def static_run() -> type:
    class Blur(Node):
        @staticmethod
        def run(image: Image) -> Image: ...

    return Blur


def run_without_self() -> type:
    class Blur(Node):
        def run(image: Image) -> Image: ...

    return Blur


def run_without_parameters() -> type:
    class Blur(Node):
        def run() -> Image: ...  # type: ignore[misc]

    return Blur


def init_without_self() -> type:
    class Blur(Base):
        def __init__(radius: int) -> None: ...

    return Blur


def port_without_annotation() -> type:
    class Blur(Node):
        def run(self, image) -> Image: ...  # type: ignore[no-untyped-def]

    return Blur


def port_of_no_value_type() -> type:
    class Blur(Node):
        def run(self, image: Image, sizes: list[int]) -> Image: ...

    return Blur


def starred_port() -> type:
    class Blur(Node):
        def run(self, *images: Image) -> Image: ...

    return Blur


def keyword_only_port() -> type:
    class Blur(Node):
        def run(self, image: Image, *, mask: Image) -> Image: ...

    return Blur


def port_called_node() -> type:
    class Blur(Node):
        def run(self, node: Image) -> Image: ...

    return Blur


def unresolvable_port() -> type:
    class Blur(Node):
        def run(self, masks: Masks) -> Image: ...

    return Blur


def nothing_returned() -> type:
    class Blur(Node):
        def run(self, image: Image): ...  # type: ignore[no-untyped-def]

    return Blur


def dict_returned() -> type:
    class Blur(Node):
        def run(self, image: Image) -> dict[str, Image]: ...

    return Blur


def none_returned() -> type:
    class Blur(Node):
        def run(self, image: Image) -> Image | None: ...

    return Blur


def tuple_returned() -> type:
    class Blur(Node):
        def run(self, image: Image) -> tuple[Image, Text]: ...

    return Blur


class Sizes(NamedTuple):
    image: Image
    size: int


def named_tuple_of_no_values_returned() -> type:
    class Blur(Node):
        def run(self, image: Image) -> Sizes: ...

    return Blur


def setting_without_annotation() -> type:
    class Blur(Base):
        def __init__(self, radius=1) -> None: ...  # type: ignore[no-untyped-def]

    return Blur


def private_setting() -> type:
    class Blur(Base):
        def __init__(self, _radius: int = 1) -> None: ...

    return Blur


def starred_settings() -> type:
    class Blur(Base):
        def __init__(self, **settings: int) -> None: ...

    return Blur


def setting_by_place_only() -> type:
    class Blur(Base):
        def __init__(self, radius: int, /) -> None: ...

    return Blur


def setting_and_port_of_one_name() -> type:
    class Blur(Base):
        def __init__(self, image: str = "") -> None: ...

    return Blur


def setting_called_node() -> type:
    class Blur(Base):
        def __init__(self, node: str = "") -> None: ...

    return Blur


def setting_called_fit() -> type:
    class Blur(Base):
        def __init__(self, fit: str = "") -> None: ...

    return Blur


def setting_called_spec() -> type:
    class Blur(Base):
        def __init__(self, spec: str = "") -> None: ...

    return Blur


def setting_called_run() -> type:
    class Blur(Base):
        def __init__(self, run: str = "") -> None: ...

    return Blur


def unresolvable_setting() -> type:
    class Blur(Base):
        def __init__(self, radius: Radius = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    return Blur


def model_without_load() -> type:
    class Blur(ModelNode):
        async def run(self, image: Image) -> Image: ...

    return Blur


def no_subclass() -> type:
    class Blur:
        def run(self, image: Image) -> Image: ...

    return Blur


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(no_run, r"Blur\.run: a node has a method `run`", id="no run"),
        pytest.param(static_run, r"Blur\.run: a node has a method `run`", id="static run"),
        pytest.param(
            run_without_self,
            r"Blur\.run: the first parameter of a method is `self`; got 'image'",
            id="run without self",
        ),
        pytest.param(
            run_without_parameters,
            r"Blur\.run: the first parameter of a method is `self`; got none",
            id="run without parameters",
        ),
        pytest.param(
            init_without_self,
            r"Blur\.__init__: the first parameter of a method is `self`; got 'radius'",
            id="init without self",
        ),
        pytest.param(
            port_without_annotation,
            r"Blur\.run: port 'image' must be annotated with a value type, a list of one or a "
            "union, and not be called 'node'; got no annotation",
            id="port without annotation",
        ),
        pytest.param(
            port_of_no_value_type, r"port 'sizes' must be .*; got list\[int\]$", id="port of ints"
        ),
        pytest.param(
            starred_port, r"Blur\.run: a port is a plain parameter, .*; got \*images", id="*ports"
        ),
        pytest.param(
            keyword_only_port, "a port is a plain parameter, .*; got mask: ", id="port behind *"
        ),
        pytest.param(port_called_node, "port 'node' must .*not be called 'node'", id="port 'node'"),
        pytest.param(
            unresolvable_port,
            r"Blur\.run: an annotation cannot be read: name 'Masks' is not defined; import its",
            id="type imported for type checkers only",
        ),
        pytest.param(
            nothing_returned,
            r"Blur\.run: a node returns a value type, .* never None; got no annotation$",
            id="no return annotation",
        ),
        pytest.param(dict_returned, r"a node returns .*; got dict\[str, .*Image\]$", id="dict"),
        pytest.param(none_returned, r"a node returns .*; got .*Image \| None$", id="or None"),
        pytest.param(tuple_returned, r"a node returns .*; got tuple\[.*Text\]$", id="plain tuple"),
        pytest.param(
            named_tuple_of_no_values_returned,
            "a node returns .* NamedTuple of those, .*; got .*Sizes$",
            id="named tuple with an int",
        ),
        pytest.param(
            setting_without_annotation,
            r"Blur\.__init__: setting 'radius' needs an annotation",
            id="setting without annotation",
        ),
        pytest.param(private_setting, "a setting is public; rename '_radius'", id="_setting"),
        pytest.param(
            starred_settings,
            r"Blur\.__init__: a setting is given by its name; got \*\*settings",
            id="**settings",
        ),
        pytest.param(
            setting_by_place_only,
            "a setting is given by its name; got radius",
            id="setting before /",
        ),
        pytest.param(
            setting_and_port_of_one_name,
            "Blur: setting 'image' is also a port; rename one of them",
            id="setting and port of one name",
        ),
        pytest.param(
            setting_called_node,
            "Blur: 'node' means something else in a node; rename the setting",
            id="setting called node",
        ),
        pytest.param(setting_called_fit, "'fit' means something else", id="setting called fit"),
        pytest.param(setting_called_run, "'run' means something else", id="setting called run"),
        pytest.param(setting_called_spec, "'spec' means something else", id="setting called spec"),
        pytest.param(
            unresolvable_setting,
            r"Blur\.__init__: an annotation cannot be read: name 'Radius' is not defined",
            id="unresolvable setting",
        ),
        pytest.param(
            model_without_load,
            r"Blur: a ModelNode has a method `load\(self, runtime\)`",
            id="model without load",
        ),
        pytest.param(no_subclass, r"Blur: a node is a subclass of visionweave\.Node", id="no Node"),
    ],
)
def test_breaking_the_contract_is_an_error_of_the_class(
    make: Callable[[], type], said: str
) -> None:
    with pytest.raises(NodeError, match=said):
        node("toy.blur")(make())


@pytest.mark.parametrize("id", ["blur", "Toy.blur", "toy.", "toy blur", "toy.2blur", ""])
def test_an_id_is_family_dot_verb(id: str) -> None:
    with pytest.raises(NodeError, match=f"Base: a node's id is like 'family.verb'; got '{id}'"):
        node(id)(Base)


def test_a_function_is_no_node() -> None:
    with pytest.raises(NodeError, match="<lambda>: a node is a subclass of visionweave"):
        node("toy.blur")(lambda image: image)  # type: ignore[type-var]


def test_a_model_node_is_loaded_once_per_runtime() -> None:
    loads = []

    @node("toy.embed")
    class Embed(ModelNode):
        def load(self, runtime: Any) -> None:
            loads.append(runtime)

        def run(self, image: Image) -> Text: ...

    built = Embed()
    first, second = object(), object()
    built.ensure_loaded(first)  # type: ignore[arg-type]
    built.ensure_loaded(first)  # type: ignore[arg-type]
    built.ensure_loaded(second)  # type: ignore[arg-type]
    assert loads == [first, second]
    built.unload()
    assert built.runtime is None
    with built.forward_context():
        pass
    built.ensure_loaded(second)  # type: ignore[arg-type]
    assert loads == [first, second, second]


def test_a_node_called_with_values_runs() -> None:
    boxes = Boxes([[0, 0, 1, 1], [0, 0, 2, 2]], (4, 4), scores=[0.2, 0.8])  # type: ignore[arg-type]
    assert Filter(0.5)(boxes) == boxes[[1]]


def test_a_node_called_with_wrong_values_is_refused() -> None:
    with pytest.raises(PipelineError, match="input 'boxes' is wrong\n  expected: Boxes\n  got: "):
        Filter()(Tags(("cat",)))
    with pytest.raises(PipelineError, match=r"toy\.filter: port 'boxes' is not connected"):
        Filter()()


BUILD = """
import sys
import visionweave as vw
from pydantic import Field

@vw.node("toy.echo")
class Echo(vw.Node):
    def __init__(self, times: int = 1) -> None: ...
    def run(self, image: vw.Image) -> vw.Image: ...

pipeline = vw.Pipeline(out=Echo(2)(vw.Input("photo", vw.Image)))
pipeline.hash, pipeline.to_python()
assert isinstance(Echo.spec, object)
print(sorted(name for name in sys.modules if name in ("torch", "transformers")))
"""


def test_building_and_checking_imports_no_torch() -> None:
    command = [sys.executable, "-W", "error", "-c", BUILD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_spec_is_shared_by_all_of_a_class() -> None:
    assert isinstance(Filter.spec, NodeSpec)
    assert Filter().spec is Filter.spec
    assert Filter.spec.settings is Filter.spec.settings

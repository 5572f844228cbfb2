"""What a node is. This docstring is the contract; `node` enforces it when a class is made.

A node is a class with a decorator and a method `run`:

    @node("boxes.filter")
    class Filter(Node):
        \"\"\"Keep the boxes that score well. (`visionweave nodes` shows this line.)\"\"\"

        def __init__(self, min_score: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
            self.min_score = min_score

        def run(self, boxes: Boxes) -> Boxes:
            return boxes[boxes.scores >= self.min_score]

- **Ports** are the parameters of `run`, annotated with value types: `Image`, `Boxes | Points`,
  `list[Cutout]`. A parameter with a default need not be connected.
- **Outputs** are its return annotation: a value type, a list of one, or a NamedTuple of those,
  whose fields are then separate outputs (`$step.field`).
- **Settings** are the parameters of `__init__`, annotated for pydantic, which checks them; that it
  can, and that their defaults fit, is found out when they are first asked for. Building a node is
  free: `__init__` keeps its settings and does nothing else, save raising ValueError for settings
  that do not go together.
- `run` is a function of its arguments and settings: it keeps nothing from call to call, changes no
  argument, and may be called in any order, and in several threads at once. Whatever it raises
  fails this one item alone.
- What it computes does not depend on whose its arguments are, the photo's name and the object's
  number; it hands those on. So a renamed photo has the results that it had (`visionweave.cache`).
- A `ModelNode` also has `load`, and its `run` is a coroutine where the engine is to batch what it
  awaits (see `visionweave.deferred`).
- `version` is raised when the results change for the same settings and inputs.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from visionweave.errors import NodeError, PipelineError, Problem, WeaveError
from visionweave.photo import Fit
from visionweave.plain import show
from visionweave.signature import RESERVED, Port, argument_problems, read_run, read_settings
from visionweave.types import PortType

if TYPE_CHECKING:
    from visionweave.runtime import Runtime
    from visionweave.settings import SettingsModel

__all__ = ["RESERVED", "ModelNode", "Node", "NodeSpec", "Port", "node"]

N = TypeVar("N", bound="type[Node]")


@dataclass(frozen=True)
class NodeSpec:
    """What is known of a node class without building one.

    Attributes:
        id: the name in pipeline files, "family.verb".
        version: raised by the author when results change.
        cls: the class.
        ports: the inputs by name, in the order of `run`'s parameters.
        outputs: the outputs by name; the single output of most nodes is called "".
        paper: where the method comes from; "" for a node without one.
        license: the licence of the model's code; checkpoints have their own in weights.lock.
    """

    id: str
    version: int
    cls: type[Node]
    ports: dict[str, Port]
    outputs: dict[str, PortType]
    paper: str = ""
    license: str = ""

    @functools.cached_property
    def settings(self) -> SettingsModel:
        """The pydantic model of the settings; made when first asked for."""
        from visionweave.settings import make_settings_model

        return make_settings_model(self.cls)

    @property
    def about(self) -> str:
        """The class's docstring; "" when neither it nor a parent has one."""
        doc = inspect.getdoc(self.cls) or ""
        return "" if doc in (inspect.getdoc(Node), inspect.getdoc(ModelNode)) else doc

    @property
    def summary(self) -> str:
        """The first line of the class's docstring; "" when neither it nor a parent has one."""
        return self.about.partition("\n")[0].strip()

    @property
    def is_async(self) -> bool:
        """Whether `run` is a coroutine, so that the engine batches its awaited calls."""
        return inspect.iscoroutinefunction(self.cls.run)

    @property
    def signature(self) -> str:
        """Ports and outputs on one line: "image: Image, boxes?: Boxes -> Masks"."""
        ports = (f"{p.name}{'?' if p.optional else ''}: {p.type}" for p in self.ports.values())
        named = (f"{name}: {kind}" if name else str(kind) for name, kind in self.outputs.items())
        return f"{', '.join(ports)} -> {', '.join(named)}"


class Node:
    """The base of all nodes; see the contract on top of this file."""

    spec: ClassVar[NodeSpec]
    settings: Mapping[str, Any] = types.MappingProxyType({})
    """The settings this node was built with, defaults included, as plain JSON data."""
    run: Callable[..., Any]

    def __init__(self) -> None:
        """A node without settings."""

    def fit(self) -> Fit | None:
        """The size this node shrinks its images to; None when it needs them at full resolution.

        A photo whose consumers all shrink it is decoded at a reduced scale, and they read it with
        `Image.shrunk`.
        """
        return None

    def depends_on(self) -> Mapping[str, str]:
        """What results depend on besides settings and arguments, in words and digests.

        A node that reads a file that a setting names says here what the file holds, so that jobs
        and the result cache notice when it changes. Weights need not be said.
        """
        return {}

    def forward_context(self) -> AbstractContextManager[None]:
        """The context in which the engine runs this node's batched methods."""
        return nullcontext()

    def __call__(self, *args: Any, **ports: Any) -> Any:
        """Connect the node to symbolic inputs, or run it at once on values.

        With an `Input` or the output of another call among the arguments, this adds a step to the
        pipeline being written and returns its output; nothing runs. With values alone (or plain
        data such as a path or a list of phrases), it runs and returns the result.

        Raises:
            PipelineError: a port is unknown, unbound, or bound to a value of the wrong type.
            NodeFailed: the node ran and failed.
        """
        from visionweave.chain import call  # the chain builds graphs out of nodes

        return call(self, args, ports)

    def connect(self, *args: Any, **ports: Any) -> Any:
        """Add a step to the pipeline being written, as a call does, also for literals alone.

        Raises:
            PipelineError: a port is unknown, unbound, or bound to a value of the wrong type.
        """
        from visionweave.chain import connect

        return connect(self, args, ports)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({settings})"


class ModelNode(Node):
    """A node with a model: free to build, loaded once per job, fed with batches.

    Class attributes that a node states:
        tolerance: the largest difference from its fp32 result that low precision may make, in the
            units its docstring names; a test measures it.
    """

    tolerance: ClassVar[float | None] = None
    runtime: Runtime | None = None

    def load(self, runtime: Runtime) -> None:
        """Import the model library, read verified weights, and put the model on the device."""
        raise NotImplementedError

    def unload(self) -> None:
        """Forget the model; what `load` stored besides is the subclass's to drop."""
        self.runtime = None

    def ensure_loaded(self, runtime: Runtime) -> None:
        """Load the model unless it is loaded on `runtime` already. The engine calls it."""
        if self.runtime is not runtime:
            self.load(runtime)
            self.runtime = runtime

    def forward_context(self) -> AbstractContextManager[None]:
        """No gradients, and autocast to the runtime's precision."""
        return nullcontext() if self.runtime is None else self.runtime.forward()


def node(id: str, *, version: int = 1, paper: str = "", license: str = "") -> Callable[[N], N]:
    """Make a class a node, and check it against the contract on top of this file.

    Args:
        id: "family.verb", lower case.
        version: raise it when results change for the same settings and inputs.
        paper: where the method comes from, for the museum label.
        license: the licence of the model's code.

    Raises:
        NodeError: the class breaks the contract; the message says how.
    """

    def decorate(cls: N) -> N:
        name = getattr(cls, "__qualname__", str(cls))
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", id):
            raise NodeError(f"{name}: a node's id is like 'family.verb'; got {id!r}")
        if not (isinstance(cls, type) and issubclass(cls, Node)):
            raise NodeError(f"{name}: a node is a subclass of visionweave.Node")
        ports, outputs = read_run(cls)
        if issubclass(cls, ModelNode) and cls.load is ModelNode.load:
            raise NodeError(f"{name}: a ModelNode has a method `load(self, runtime)`")
        for setting in read_settings(cls):
            if setting in ports:
                raise NodeError(f"{name}: setting '{setting}' is also a port; rename one of them")
            if setting in {*RESERVED, "spec", "run"} or hasattr(ModelNode, setting):
                raise NodeError(
                    f"{name}: '{setting}' means something else in a node; rename the setting"
                )
        cls.spec = NodeSpec(id, version, cls, ports, outputs, paper, license)
        cls.__init__ = _checked_init(cls, cls.__init__)  # type: ignore[method-assign]
        return cls

    return decorate


def _checked_init(cls: type[Node], init: Callable[..., None]) -> Callable[..., None]:
    """Wrap `__init__`: check the settings, keep them as `self.settings`, then call it."""
    parameters = list(inspect.signature(init).parameters.values())[1:]
    by_place = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]

    @functools.wraps(init)
    def __init__(self: Node, *args: Any, **kwargs: Any) -> None:
        if self.spec.cls is not cls:  # the __init__ of a subclass has checked its own settings
            init(self, *args, **kwargs)
            return
        given = dict(zip(by_place, args, strict=False)) | kwargs
        problems = argument_problems(self.spec.id, "setting", by_place, args, kwargs)
        settings = _check_given(self.spec, given, problems)
        plain = self.spec.settings.model_construct(**settings).model_dump(mode="json")
        self.settings = types.MappingProxyType(plain)
        try:
            init(self, **settings)
        except ValueError as error:
            what = f"these settings do not go together: {error}"
            got = ", ".join(f"{name}: {show(plain[name])}" for name in given)
            raise PipelineError([Problem(self.spec.id, what, got=got)]) from error
        except WeaveError:
            raise
        except Exception as error:  # a plug-in may raise anything when built
            what = f"{cls.__qualname__}.__init__ raised {type(error).__name__}: {error}"
            fix = "repair the node: its `__init__` keeps its settings and does nothing else"
            raise PipelineError([Problem(self.spec.id, what, fix=fix)]) from error

    return __init__


def _check_given(
    spec: NodeSpec, given: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    """Return all settings of a node, or raise `problems` with those of the settings given."""
    from visionweave.settings import check_settings

    for name in given:
        if name in spec.ports:
            what = f"'{name}' is a port, not a setting"
            fix = f"connect it by calling the node: {spec.cls.__name__}(...)({name}=...)"
            problems.append(Problem(spec.id, what, fix=fix))
    own = {name: value for name, value in given.items() if name not in spec.ports}
    settings, wrong = check_settings(spec.settings, own, lambda name: spec.id)
    problems += wrong.values()
    if problems:
        raise PipelineError(problems)
    return settings

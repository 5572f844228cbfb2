"""The commands that look at things and run nothing: check, show, nodes, pipelines, schema."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from visionweave.cli.words import counted

__all__ = ["check", "nodes", "pipelines", "schema", "show"]

Format = Literal["text", "mermaid", "svg", "yaml", "python", "json"]

Name = Annotated[str, typer.Argument(metavar="PIPELINE", help="A ready pipeline or a YAML file.")]


def check(
    names: Annotated[
        list[str], typer.Argument(metavar="PIPELINE", help="Ready pipelines or YAML files.")
    ],
) -> int:
    """Find every mistake in pipelines, without running them.

    No model is loaded. Exit code 0 when all are good, 1 when one is not.

    \b
    visionweave check mine.yaml
    visionweave check pipelines/*.yaml
    """
    from visionweave.errors import PipelineError
    from visionweave.pipeline import Pipeline

    bad = 0
    for name in names:
        try:
            pipeline = Pipeline.load(name)
        except PipelineError as error:
            bad += 1
            several = f"{name}: " if len(error.problems) > 1 else ""  # a single one names its file
            print(f"{several}{error}", file=sys.stderr)
            continue
        inputs = ", ".join(f"{key}: {each.type}" for key, each in pipeline.inputs.items())
        outputs = ", ".join(f"{key}: {flow}" for key, flow in pipeline.outputs.items())
        print(
            f"{name}: good, {counted(len(pipeline.graph.steps), 'step')}, hash {pipeline.hash[:12]}"
        )
        print(f"  takes {inputs}")
        print(f"  gives {outputs}")
    return 1 if bad else 0


def show(
    name: Name,
    format: Annotated[
        Format, typer.Option("--format", "-f", help="How to show it; svg is a picture.")
    ] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write to this file instead.")
    ] = None,
) -> None:
    """Show a pipeline as text, picture or code.

    \b
    visionweave show split-objects
    visionweave show split-objects -f svg -o graph.svg
    visionweave show mine.yaml -f python          the same in the chaining API
    """
    from visionweave.pipeline import Pipeline
    from visionweave.show import to_mermaid, to_svg, to_text

    pipeline = Pipeline.load(name)
    forms: dict[str, Callable[[], str]] = {
        "text": lambda: to_text(pipeline),
        "mermaid": lambda: to_mermaid(pipeline),
        "svg": lambda: to_svg(pipeline),
        "yaml": pipeline.to_yaml,
        "python": pipeline.to_python,
        "json": lambda: json.dumps(pipeline.canonical(), indent=1, ensure_ascii=False),
    }
    _give(forms[format](), out)


def nodes(
    id: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Show all there is to know of one node.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List the nodes installed, or all of one.

    \b
    visionweave nodes
    visionweave nodes image.cutout
    """
    from visionweave.cli.catalogue import all_nodes, node_json, node_page, node_table
    from visionweave.registry import find_node

    if id is None:
        found, broken = all_nodes()
        if as_json:
            _give(json.dumps([node_json(spec) for spec in found], indent=1), None)
        else:
            node_table(found)
        for reason in broken:
            print(f"warning: {reason}", file=sys.stderr)
        return
    spec = find_node(id).spec
    if as_json:
        _give(json.dumps(node_json(spec), indent=1), None)
    else:
        node_page(spec)


def pipelines(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this one's YAML.")
    ] = None,
) -> None:
    """List the ready pipelines, or print one.

    Print one to begin your own from.

    \b
    visionweave pipelines
    visionweave pipelines split-objects > mine.yaml
    """
    from visionweave.cli.catalogue import pipeline_table
    from visionweave.files.ready import read_pipeline_text

    if name is None:
        pipeline_table()
    else:
        _give(read_pipeline_text(name)[0], None)


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write to this file instead.")
    ] = None,
) -> None:
    """Print the JSON Schema of pipeline files.

    For editors; made from the nodes installed.

    \b
    visionweave schema -o pipeline.schema.json
    and on top of a pipeline file, for editors with a YAML language server:
    # yaml-language-server: $schema=pipeline.schema.json
    """
    from visionweave.files.schema import pipeline_schema

    _give(json.dumps(pipeline_schema(), indent=1, ensure_ascii=False), out)


def _give(text: str, out: Path | None) -> None:
    text = text if text.endswith("\n") else text + "\n"
    if out is None:
        sys.stdout.write(text)
        return
    from visionweave.errors import JobError

    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise JobError(f"cannot write {out}: {error.strerror or error}") from error
    print(f"wrote {out}")

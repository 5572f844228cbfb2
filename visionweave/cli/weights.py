"""The commands that look after the models' weights: weights list, pull, verify, path, add."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from visionweave.cli.weights_add import AcceptLicense, add
from visionweave.cli.words import counted

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""List, fetch and check the weights of the models.

    They lie in $VISIONWEAVE_WEIGHTS, or else in your cache folder. Only `pull` and `add` touch the
    network.

    \b
    visionweave weights list                what there is, under which licence, and what is here
    visionweave weights pull base           fetch a profile: one checkpoint per family of nodes
    visionweave weights pull sam-vit-b      fetch one checkpoint""",
)

Names = Annotated[
    list[str], typer.Argument(metavar="NAME", help="Checkpoints, or profiles such as base.")
]


@app.command("list")
def list_(
    family: Annotated[
        str | None, typer.Argument(metavar="FAMILY", help="Only those of a family of nodes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List the checkpoints: size, licence, whether here and verified.

    "here" means that files were touched since they were hashed; `verify` hashes them.

    \b
    visionweave weights list
    visionweave weights list sam
    """
    from visionweave.cli.weights_view import checkpoint_json, checkpoint_table
    from visionweave.errors import WeightsError, did_you_mean
    from visionweave.weights.lock import read_lock

    lock = read_lock()
    families = {each.family for each in lock.checkpoints.values()}
    if family is not None and family not in families:
        hint = did_you_mean(family, families) or f"there are {', '.join(sorted(families))}"
        raise WeightsError(f"no checkpoint is listed for {family!r}; {hint}")
    found = [each for each in lock.checkpoints.values() if family in (None, each.family)]
    if as_json:
        print(json.dumps([checkpoint_json(each, lock) for each in found], indent=1))
    else:
        checkpoint_table(found, lock)


@app.command()
def pull(names: Names, accept_license: AcceptLicense = None) -> int:
    """Fetch checkpoints, and check them against their hashes.

    What an earlier attempt left is used. Exit code 1 when one could not be fetched.

    \b
    visionweave weights pull base
    visionweave weights pull mobileclip2-s0 --accept-license Apple-ML-Research
    HF_TOKEN=... visionweave weights pull sam3-original --accept-license SAM-License
    """
    from visionweave.cli.weights_view import Downloads, accept_licenses, chosen, license_text
    from visionweave.errors import WeightsError
    from visionweave.weights.lock import read_lock
    from visionweave.weights.pull import pull

    lock = read_lock()
    wanted = chosen(names, lock)
    accept_licenses(wanted, accept_license or [])
    watcher, failed = Downloads(), 0
    for each in wanted:
        print(license_text(each))
        if not each.hashed and each.name not in names:
            print(f"  left out: its hash is not known yet; see visionweave weights add {each.name}")
            continue
        try:
            print(f"  verified, in {pull(each, watcher)}")
        except WeightsError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="These; else all that are here.")
    ] = None,
) -> int:
    """Hash files again, and compare with what is listed.

    Exit code 1 when one is not what it should be.

    \b
    visionweave weights verify
    visionweave weights verify sam-vit-b
    """
    from visionweave.cli.weights_view import chosen
    from visionweave.weights.lock import read_lock
    from visionweave.weights.store import check_files, checkpoint_size, folder_of

    lock, bad = read_lock(), 0
    for each in chosen(names, lock) if names else lock.checkpoints.values():
        here = [file for file in each.files if (folder_of(each) / file.name).is_file()]
        wrong = check_files(each, again=True)
        lacking = len(each.files) - len(here)
        if wrong:
            print("\n".join(wrong), file=sys.stderr)
        elif here or names:
            absent = f", {lacking} not here" if lacking else ""
            count = counted(len(here), "file")
            print(f"{each.name}: {count} verified{absent} ({checkpoint_size(each)})")
        bad += bool(wrong) or bool(names and lacking)
    return 1 if bad else 0


@app.command()
def path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A checkpoint.")],
) -> None:
    """Print the folder of a checkpoint that is here and right.

    \b
    ls "$(visionweave weights path sam-vit-b)"
    """
    from visionweave.weights.lookup import listed
    from visionweave.weights.store import folder_of, verified_files

    checkpoint = listed(name)
    verified_files(checkpoint)
    print(folder_of(checkpoint))


app.command()(add)

"""The command that takes checkpoints into the store: weights add."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from visionweave.cli.words import counted

if TYPE_CHECKING:
    from visionweave.weights.lock import Checkpoint, WeightFile

__all__ = ["add"]

AcceptLicense = Annotated[
    list[str] | None,
    typer.Option("--accept-license", metavar="NAME", help="Agree to a licence's terms, once."),
]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is, or shall be, called.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Its files on this machine.")
    ] = None,
    urls: Annotated[
        list[str] | None, typer.Option("--url", help="Where to fetch a file; may be repeated.")
    ] = None,
    sha256: Annotated[
        list[str] | None, typer.Option(help="The hash of each --url, in the same order.")
    ] = None,
    file_names: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="NAME", help="What to call each file, in the same order."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Take what comes where no hash is known (first use).")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Link the files into the store; do not copy them.")
    ] = False,
    family: Annotated[str | None, typer.Option(help="The family of nodes it is for.")] = None,
    license: Annotated[str | None, typer.Option(help="Its licence, such as MIT.")] = None,
    commercial: Annotated[
        Literal["yes", "no", "conditional"] | None,
        typer.Option(help="Whether it may be used in business."),
    ] = None,
    terms: Annotated[str | None, typer.Option(help="Its licence's terms in a sentence.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it is from, for people.")] = None,
    format: Annotated[str | None, typer.Option(help="safetensors, pickle, ...")] = None,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", "-c", metavar="KEY=VALUE", help="What its loader must know."),
    ] = None,
    accept_license: AcceptLicense = None,
) -> None:
    """Take a checkpoint into the store: yours, or a listed one.

    A listed one comes from files (checked against their hashes), or, where its hash is not known
    yet, from the network with --trust: what comes first is then taken for right. One of yours is
    written into weights.lock in the store.

    \b
    visionweave weights add sam-vit-b ~/Downloads/sam_vit_b_01ec64.pth
    visionweave weights add altclip --trust
    visionweave weights add my-clip model.safetensors --family clip -c architecture=ViT-B-32
    """
    from visionweave.cli.weights_view import Downloads, accept_licenses
    from visionweave.weights.adding import add_files, add_urls, trust_listed
    from visionweave.weights.lookup import listed

    given = {
        "family": family,
        "license": license,
        "commercial": commercial,
        "terms": terms,
        "source": source,
        "format": format,
        "config": _config(config) if config else None,
    }
    facts = {key: fact for key, fact in given.items() if fact is not None}
    files, urls, names, hashes = files or [], urls or [], file_names or [], sha256 or []
    _check_apart(files, urls, hashes, facts, trust=trust, link=link)
    _check_count("--file", names, len(urls or files))
    if family is not None:
        _check_family(family)
    if accept_license:
        accept_licenses([listed(name)], accept_license)
    watcher = Downloads()
    if urls:
        _check_count("--sha256", hashes, len(urls))
        wanted = _wanted(urls, names, hashes)
        added = add_urls(name, wanted, facts, trust=trust, watcher=watcher)
    elif trust:
        added = trust_listed(name, watcher)
    else:
        added = add_files(name, files, facts, names=names, link=link, watcher=watcher)
    _report(added, trust)


def _check_apart(
    files: list[Path],
    urls: list[str],
    hashes: list[str],
    facts: dict[str, Any],
    *,
    trust: bool,
    link: bool,
) -> None:
    """Refuse options that mean nothing together, rather than leave some out."""
    from visionweave.errors import WeightsError

    if files and urls:
        raise WeightsError("give files of this machine or --url, not both at once")
    if hashes and not urls:
        raise WeightsError("--sha256 is the hash of a --url; files of this machine are hashed here")
    if link and not files:
        raise WeightsError("--link goes with files of this machine")
    if trust and files:
        raise WeightsError("--trust is for what is fetched; files of this machine need it not")
    if trust and not urls and facts:
        raise WeightsError(
            f"--trust without --url fetches a listed checkpoint; its {', '.join(facts)} cannot be "
            "changed here"
        )


def _check_count(option: str, given: list[str], wanted: int) -> None:
    from visionweave.errors import WeightsError

    if given and len(given) != wanted:
        files = counted(wanted, "file")
        raise WeightsError(f"{len(given)} {option} for {files}; give one for each")


def _check_family(family: str) -> None:
    """Refuse a family that no node is of."""
    from visionweave.errors import WeightsError, did_you_mean
    from visionweave.registry import node_ids
    from visionweave.weights.lock import read_lock

    known = {id.partition(".")[0] for id in node_ids()}
    known |= {each.family for each in read_lock().checkpoints.values()}
    if family not in known:
        hint = did_you_mean(family, known) or f"there are {', '.join(sorted(known))}"
        raise WeightsError(f"--family {family}: there are no nodes of this family; {hint}")


def _report(added: Checkpoint, trusted: bool) -> None:
    from visionweave.cli.weights_view import license_text
    from visionweave.weights.store import folder_of

    print(license_text(added))
    for file in added.files:
        print(f"  {file.name}: sha256 {file.sha256 or 'not known yet'}")
    if trusted:
        print(
            "  trusted on first use: nothing says that these files are the right ones; what comes "
            "later is checked against them"
        )
    print(f"  in {folder_of(added)}")


def _wanted(urls: list[str], names: list[str], hashes: list[str]) -> list[WeightFile]:
    from visionweave.weights.lock import WeightFile

    return [
        WeightFile(names[i] if names else "", url, None, hashes[i].lower() if hashes else None)
        for i, url in enumerate(urls)
    ]


def _config(pairs: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE as a list of weights would: true, 0.5 and [1, 2]; all else is text."""
    import tomllib

    from visionweave.errors import WeightsError

    config: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise WeightsError(f"--config {pair}: expected KEY=VALUE")
        try:
            config[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            config[key] = value
    return config

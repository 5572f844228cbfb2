"""`visionweave weights`, as a person meets it: what is printed, and the exit code."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from visionweave.cli import weights_view
from visionweave.cli.weights import app
from visionweave.cli.weights_view import Downloads
from visionweave.errors import WeightsError
from visionweave.weights import WeightFile, checkpoint, verified_files
from visionweave.weights.download import Patience, fetch

if TYPE_CHECKING:
    from tests.weights.conftest import Server

A = b"tensors"
HASH = hashlib.sha256(A).hexdigest()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = app(args=list(arguments), standalone_mode=False)
    captured = capsys.readouterr()
    return code or 0, captured.out, captured.err


@pytest.fixture
def url(server: Server, store: Path) -> str:
    """Lists `good`, `strict` (restricted), `new` (hash not known), `gone`; profiles of them."""
    server.files["/a.bin"] = A
    url = server.url("/a.bin")
    entry = """
        [checkpoint.{name}]
        family = "{family}"
        license = "{license}"
        commercial = "{commercial}"
        terms = "{terms}"
        files = [{{ name = "a.bin", url = "{url}", bytes = 7{known} }}]
    """
    known = f', sha256 = "{HASH}"'
    rows = [
        ("good", "clip", "MIT", "yes", "", url, known),
        ("strict", "sam", "No Sale", "no", "Not for sale.", url, known),
        ("new", "blip", "MIT", "yes", "", url, ""),
        ("gone", "clip", "MIT", "yes", "", server.url("/gone"), known),
    ]
    keys = ("name", "family", "license", "commercial", "terms", "url", "known")
    text = "".join(entry.format(**dict(zip(keys, row, strict=True))) for row in rows)
    (store / "weights.lock").write_text(
        text + '[profiles.mine]\nclip = "good"\nblip = "new"\n[profiles.base]\nsam = "strict"'
    )
    return url


def test_list_shows_size_licence_and_what_is_here(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    run(capsys, "pull", "good")
    _, out, _ = run(capsys, "list")
    rows = {line.split()[1]: line.split() for line in out.splitlines()}
    assert rows["good"] == ["clip", "good", "mine", "7", "bytes", "MIT", "yes", "verified"]
    assert rows["strict"] == ["sam", "strict", "base", "7", "bytes", "No", "Sale", "no", "no"]
    assert " ".join(rows["new"]).endswith("MIT yes hash not known yet")
    assert " ".join(rows["ram-plus"]) == ("tag2text ram-plus base large 3.0 GB Apache-2.0 yes no")
    assert "\nNo Sale (no): Not for sale.\n" in out


def test_list_of_a_family_as_json(
    capsys: pytest.CaptureFixture[str], url: str, store: Path
) -> None:
    _, out, _ = run(capsys, "list", "sam", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert {entry["family"] for entry in entries.values()} == {"sam"}
    assert entries["strict"]["files"] == [{"name": "a.bin", "url": url, "bytes": 7, "sha256": HASH}]
    assert entries["strict"]["license_accepted"] is False
    assert entries["strict"]["profiles"] == ["base"]
    assert entries["strict"]["state"] == "no"
    assert entries["strict"]["folder"] == str(store / "strict")


@pytest.mark.parametrize(
    ("family", "message"),
    [("clp", "did you mean clip?"), ("xyz", "there are blip, clip, grounding_dino, sam,")],
)
def test_list_of_no_family(
    family: str, message: str, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    with pytest.raises(WeightsError, match=f"no checkpoint is listed for '{family}'; {message}"):
        run(capsys, "list", family)


def test_pull_shows_the_licence_and_where_it_went(
    capsys: pytest.CaptureFixture[str], url: str, store: Path
) -> None:
    code, out, err = run(capsys, "pull", "good")
    assert (code, err) == (0, "")
    assert out == f"good (7 bytes), licence MIT\n  verified, in {store / 'good'}\n"
    assert run(capsys, "path", "good") == (0, f"{store / 'good'}\n", "")


def test_pull_of_a_profile_leaves_out_what_has_no_hash(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    code, out, _ = run(capsys, "pull", "mine", "good")
    assert code == 0
    assert out.count("good (7 bytes)") == 1
    assert "  left out: its hash is not known yet; see visionweave weights add new\n" in out


def test_pull_of_several_goes_on_after_one_that_fails(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    code, out, err = run(capsys, "pull", "gone", "new", "good")
    assert code == 1
    assert "error: " in err
    assert "the server has no such file (404 Not Found)" in err
    assert "error: new: the hash of a.bin is not known yet" in err
    assert "  verified, in " in out


def test_pull_of_what_is_restricted_asks_once(
    capsys: pytest.CaptureFixture[str], url: str, server: Server
) -> None:
    code, out, err = run(capsys, "pull", "strict")
    assert code == 1
    assert "licence No Sale, not for commercial use: Not for sale.\n" in out
    assert "weights pull strict --accept-license 'No Sale'" in err
    assert server.requests == []
    assert run(capsys, "pull", "strict", "--accept-license", "No Sale")[0] == 0
    assert run(capsys, "pull", "strict")[0] == 0
    assert " no, accepted " in run(capsys, "list", "sam")[1]


def test_pull_accepts_no_licence_that_is_not_theirs(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    message = "--accept-license MIT: none of these is under it; they are under No Sale"
    with pytest.raises(WeightsError, match=message):
        run(capsys, "pull", "strict", "--accept-license", "MIT")


def test_pull_of_what_is_not_listed(capsys: pytest.CaptureFixture[str], url: str) -> None:
    with pytest.raises(WeightsError, match=r"did you mean good\?"):
        run(capsys, "pull", "goood")


def test_pull_of_what_comes_with_the_package_fetches_nothing(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    assert run(capsys, "pull", "mini")[0] == 0
    assert not [path for path in store.rglob("*") if path.suffix == ".safetensors"]


def _fetched(out: str) -> list[str]:
    """The lines about checkpoints that do not come with the package."""
    return [line for line in out.splitlines() if not line.startswith("mini-")]


def test_verify_finds_what_changed(
    capsys: pytest.CaptureFixture[str], url: str, store: Path
) -> None:
    run(capsys, "pull", "good", "strict", "--accept-license", "No Sale")
    code, out, err = run(capsys, "verify")
    assert (code, err) == (0, "")
    assert _fetched(out) == ["good: 1 file verified (7 bytes)", "strict: 1 file verified (7 bytes)"]
    (store / "good/a.bin").write_bytes(b"TENSORS")
    code, out, err = run(capsys, "verify")
    assert code == 1
    assert _fetched(out) == ["strict: 1 file verified (7 bytes)"]
    assert f"{store / 'good/a.bin'}: this is not the file" in err
    assert run(capsys, "verify", "strict")[0] == 0


def test_verify_of_what_is_not_here(capsys: pytest.CaptureFixture[str], url: str) -> None:
    code, out, err = run(capsys, "verify")
    assert (code, _fetched(out), err) == (0, [], "")
    code, out, _ = run(capsys, "verify", "good")
    assert (code, out) == (1, "good: 0 files verified, 1 not here (7 bytes)\n")


def test_path_of_what_is_not_here(capsys: pytest.CaptureFixture[str], url: str) -> None:
    with pytest.raises(WeightsError, match="good is not on this machine; fetch it with"):
        run(capsys, "path", "good")


def test_add_files_of_ones_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, store: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(A)
    options = ["--family", "clip", "--license", "MIT", "--commercial", "yes", "--format", "pickle"]
    config = ["-c", "architecture=ViT-B-32", "-c", "quick_gelu=true", "-c", "mean=[0.5, 0.5]"]
    code, out, _ = run(capsys, "add", "own", str(tmp_path / "a.bin"), *options, *config)
    assert code == 0
    assert out == (f"own (7 bytes), licence MIT\n  a.bin: sha256 {HASH}\n  in {store / 'own'}\n")
    own = checkpoint("own", "clip")
    assert own.config == {"architecture": "ViT-B-32", "quick_gelu": True, "mean": [0.5, 0.5]}
    assert (own.license, own.commercial, own.format) == ("MIT", "yes", "pickle")
    assert list(verified_files(own)) == ["a.bin"]


def test_add_on_trust_says_that_it_is_trust(capsys: pytest.CaptureFixture[str], url: str) -> None:
    _, out, _ = run(capsys, "add", "new", "--trust")
    assert f"  a.bin: sha256 {HASH}\n" in out
    assert "trusted on first use: nothing says that these files are the right ones" in out
    assert run(capsys, "pull", "new")[0] == 0


def test_add_from_an_address(capsys: pytest.CaptureFixture[str], url: str) -> None:
    named = ["--url", url, "--file", "model.bin", "--sha256", HASH]
    code, out, _ = run(capsys, "add", "own", *named, "--family", "clip")
    assert code == 0
    assert "own (7 bytes), licence not stated, with conditions\n" in out
    assert "trusted" not in out
    assert list(verified_files(checkpoint("own", "clip"))) == ["model.bin"]
    assert run(capsys, "add", "two", "--url", url, "--family", "clip", "--trust")[0] == 0


def test_add_accepts_a_licence(
    capsys: pytest.CaptureFixture[str], url: str, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(A)
    run(capsys, "add", "strict", str(tmp_path / "a.bin"), "--accept-license", "No Sale")
    assert list(verified_files(checkpoint("strict", "sam"))) == ["a.bin"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "architecture"], "--config architecture: expected KEY=VALUE"),
        (["--config", "=5"], "--config =5: expected KEY=VALUE"),
        (
            ["--url", "http://x", "--url", "http://y", "--file", "a"],
            "1 --file for 2 files",
        ),
        (
            ["--url", "http://x", "--sha256", "a", "--sha256", "b"],
            "2 --sha256 for 1 file; give",
        ),
        (["a", "--url", "http://x"], "give files of this machine or --url, not both at once"),
        (["a", "b", "--file", "c"], "1 --file for 2 files; give one for each"),
        (["a", "--sha256", HASH], "--sha256 is the hash of a --url; files of this machine are"),
        (["--url", "http://x", "--link"], "--link goes with files of this machine"),
        (["a", "--trust"], "--trust is for what is fetched; files of this machine need it not"),
        (["--trust"], "--trust without --url fetches a listed checkpoint; its family cannot be"),
        (["a", "--family", "clap"], r"--family clap: there are no nodes of this family; did you m"),
        (["a", "--accept-license", "MIT"], "there is no checkpoint 'own'"),
        (["--url", "ftp://x/a", "--trust"], r"url: expected an address with .*; got 'ftp://x/a'"),
        (["--url", "http://x/a", "--sha256", "ab"], "sha256.*: expected 64 of the digits 0-9 and"),
    ],
)
def test_add_with_options_that_do_not_fit(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        run(capsys, "add", "own", "--family", "clip", *options)


def test_a_terminal_shows_a_bar_with_what_is_said_above_it(
    server: Server, url: str, store: Path
) -> None:
    server.answers("/a.bin", server.status(503, Retry_After="0"))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, legacy_windows=False)
    path = store / "x" / "a.bin"
    fetch(WeightFile("a.bin", url, 7, HASH), path, Downloads(console), Patience())
    assert "a.bin: the server answered 503 Service Unavailable; trying again in 0 s" in (
        screen.getvalue()
    )
    assert "7/7 bytes" in screen.getvalue()


def test_without_a_terminal_lines_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_view, "EVERY_SECONDS", 0.0)
    lines = io.StringIO()
    downloads = Downloads(Console(file=lines, width=200))
    downloads.started("a.bin", 2_000_000)
    downloads.moved(1_000_000)
    downloads.finished()
    downloads.started("b.bin", None)
    downloads.moved(1000)
    assert lines.getvalue() == "a.bin: 1 MB of 2 MB\nb.bin: 1 kB\n"

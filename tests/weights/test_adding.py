"""Pulling listed checkpoints, and adding others: from files, from addresses, on trust."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visionweave.errors import WeightsError
from visionweave.weights import Checkpoint, WeightFile, checkpoint, verified_files
from visionweave.weights.accepting import accept
from visionweave.weights.adding import add_files, add_urls, trust_listed
from visionweave.weights.lock import user_lock
from visionweave.weights.lookup import listed
from visionweave.weights.pull import pull
from visionweave.weights.store import state_of

if TYPE_CHECKING:
    from tests.weights.conftest import Notes, Server

A, B = b"first", b"second"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def list_two(server: Server, store: Path, known: str | None, use: str = "yes") -> Checkpoint:
    """List a checkpoint of two files; the hash of the first is known."""
    server.files.update({"/a.bin": A, "/b.bin": B})
    hash_of_b = f', sha256 = "{known}"' if known else ""
    (store / "weights.lock").write_text(f"""
        [checkpoint.two]
        family = "clip"
        license = "MIT"
        commercial = "{use}"
        files = [
          {{ name = "a.bin", url = "{server.url("/a.bin")}", sha256 = "{sha256(A)}" }},
          {{ name = "sub/b.bin", url = "{server.url("/b.bin")}"{hash_of_b} }},
        ]
    """)
    return listed("two")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.bin"
    path.write_bytes(A)
    return path


def test_pulling_fetches_all_files_and_a_second_time_none(
    server: Server, store: Path, notes: Notes
) -> None:
    two = list_two(server, store, sha256(B))
    assert pull(two, notes) == store / "two"
    assert state_of(two) == "verified"
    assert pull(two) == store / "two"
    assert [path for path, _ in server.requests] == ["/a.bin", "/b.bin"]


def test_pulling_keeps_what_is_right_and_replaces_what_is_not(
    server: Server, store: Path, notes: Notes
) -> None:
    two = list_two(server, store, sha256(B))
    (store / "two/sub").mkdir(parents=True)
    (store / "two/a.bin").write_bytes(A)
    (store / "two/sub/b.bin").write_bytes(b"SECOND")
    pull(two, notes)
    assert [path for path, _ in server.requests] == ["/b.bin"]
    assert (store / "two/sub/b.bin").read_bytes() == B
    assert any("this is another file than the list names; replacing it" in n for n in notes.lines)


def test_pulling_what_has_no_hash_is_refused(server: Server, store: Path) -> None:
    two = list_two(server, store, None)
    message = "two: the hash of sub/b.bin is not known yet.* visionweave weights add two --trust"
    with pytest.raises(WeightsError, match=message):
        pull(two)
    assert server.requests == []


def test_pulling_what_is_restricted_needs_acceptance(server: Server, store: Path) -> None:
    two = list_two(server, store, sha256(B), "conditional")
    with pytest.raises(WeightsError, match=r"Its terms are not stated.*--accept-license MIT"):
        pull(two)
    accept(two)
    assert pull(two) == store / "two"


def test_pulling_what_comes_with_the_package_only_looks(
    server: Server, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = dataclasses.replace(list_two(server, store, sha256(B)), shipped=True)
    with pytest.raises(WeightsError, match="it comes with visionweave; install that again"):
        pull(shipped)
    assert server.requests == []
    monkeypatch.setattr("visionweave.weights.store.__file__", str(tmp_path / "store.py"))
    (tmp_path / "mini/two/sub").mkdir(parents=True)
    (tmp_path / "mini/two/a.bin").write_bytes(A)
    (tmp_path / "mini/two/sub/b.bin").write_bytes(B)
    assert pull(shipped) == tmp_path / "mini/two"


def test_pulling_what_has_no_address_is_refused(mine: Path, store: Path) -> None:
    entry = add_files("own", [mine], {"family": "clip"})
    (store / "own/mine.bin").unlink()
    with pytest.raises(WeightsError, match=r"own: nothing says where mine\.bin could be fetched"):
        pull(entry)


def test_trust_writes_down_the_hash_of_what_came(server: Server, store: Path, notes: Notes) -> None:
    list_two(server, store, None)
    learnt = trust_listed("two", notes)
    assert [file.sha256 for file in learnt.files] == [sha256(A), sha256(B)]
    assert [file.bytes for file in learnt.files] == [5, 6]
    assert listed("two") == learnt
    assert verified_files(learnt)["sub/b.bin"].read_bytes() == B
    with pytest.raises(WeightsError, match=r"its hash is known; fetch it with: .* pull two"):
        trust_listed("two")


def test_trust_does_not_reach_to_files_whose_hash_is_known(server: Server, store: Path) -> None:
    list_two(server, store, None)
    server.files["/a.bin"] = b"FIRST"
    with pytest.raises(WeightsError, match="sent another file than the list of weights names"):
        trust_listed("two")


def test_trust_needs_the_licence_accepted(server: Server, store: Path) -> None:
    list_two(server, store, None, "no")
    with pytest.raises(WeightsError, match="restricts its use"):
        trust_listed("two")


@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_files_of_ones_own_are_listed_with_their_hashes(
    link: bool, mine: Path, store: Path
) -> None:
    facts = {"family": "clip", "config": {"architecture": "ViT-B-32", "mean": [0.5, 0.5, 0.5]}}
    added = add_files("own", [mine], facts, link=link)
    assert checkpoint("own", "clip") == added
    assert added.files == (WeightFile("mine.bin", "", 5, sha256(A)),)
    assert (added.license, added.commercial) == ("not stated", "conditional")
    assert added.config == facts["config"]
    path = verified_files(added)["mine.bin"]
    assert path.read_bytes() == A
    assert path.samefile(mine) == link
    assert sorted(each.name for each in path.parent.iterdir()) == [".verified.json", "mine.bin"]


def test_linking_twice_is_as_good_as_once(mine: Path) -> None:
    add_files("own", [mine], {"family": "clip"}, link=True)
    assert verified_files(add_files("own", [mine], link=True))["mine.bin"].samefile(mine)


def test_a_kill_while_a_file_is_linked_leaves_no_part_that_a_download_would_write_in(
    mine: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            add_files("own", [mine], {"family": "clip"}, link=True)
    assert [path for path in store.rglob("*.part") if path.samefile(mine)] == []
    added = add_files("own", [mine], {"family": "clip"}, link=True)
    assert verified_files(added)["mine.bin"].samefile(mine)
    assert list(store.rglob("*.link")) == []


def test_files_of_a_listed_checkpoint_are_checked_and_taken(
    server: Server, store: Path, tmp_path: Path
) -> None:
    two = list_two(server, store, sha256(B))
    before = (store / "weights.lock").read_text()
    for name, data in (("a.bin", A), ("b.bin", B)):
        (tmp_path / name).write_bytes(data)
    assert add_files("two", [tmp_path / "b.bin", tmp_path / "a.bin"]) == two
    assert state_of(two) == "verified"
    assert (store / "weights.lock").read_text() == before
    assert server.requests == []


@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_the_wrong_file_for_a_listed_checkpoint_is_refused(
    link: bool, server: Server, store: Path, tmp_path: Path
) -> None:
    list_two(server, store, sha256(B))
    (tmp_path / "a.bin").write_bytes(b"FIRST")
    with pytest.raises(WeightsError, match=f"expected: sha256 {sha256(A)}"):
        add_files("two", [tmp_path / "a.bin"], link=link)
    assert list((store / "two").iterdir()) == []


def test_a_file_put_into_the_store_by_hand_gets_its_hash(server: Server, store: Path) -> None:
    list_two(server, store, None)
    (store / "two/sub").mkdir(parents=True)
    (store / "two/sub/b.bin").write_bytes(B)
    learnt = add_files("two", [store / "two/sub/b.bin"])
    assert learnt.files[1] == WeightFile("sub/b.bin", server.url("/b.bin"), 6, sha256(B))
    assert listed("two") == learnt


def test_one_file_for_one_file_needs_no_name(mine: Path, store: Path) -> None:
    (store / "weights.lock").write_text(f"""
        [checkpoint.one]
        family = "clip"
        license = "MIT"
        commercial = "yes"
        files = [{{ name = "model.bin", sha256 = "{sha256(A)}" }}]
    """)
    assert verified_files(add_files("one", [mine])) == {"model.bin": store / "one/model.bin"}


def test_which_file_it_is_must_be_clear(server: Server, store: Path, mine: Path) -> None:
    list_two(server, store, None)
    with pytest.raises(WeightsError, match=r"which file of two is this\? .* a\.bin, sub/b\.bin"):
        add_files("two", [mine])


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("own", {}, "own is not listed. If it is yours, give its files and the family"),
        ("sam-vit-bb", {}, "is not listed; did you mean sam-vit-b?"),
        ("base", {"family": "clip"}, "base is the name of a profile; choose another"),
        ("sam-vit-b", {"family": "clip"}, "is listed already; its family cannot be changed here"),
        ("../up", {"family": "clip"}, "adding ../up: this does not fit into a list of weights"),
        (
            "own",
            {"family": "c l"},
            "own.family: expected a family of nodes, such as clip; got 'c l'",
        ),
        ("own", {"family": "clip", "config": {"a": [None]}}, "adding own: this is not TOML"),
    ],
)
def test_facts_that_do_not_fit(
    name: str, facts: dict[str, object], message: str, mine: Path, store: Path
) -> None:
    with pytest.raises(WeightsError, match=re.escape(message)):
        add_files(name, [mine], facts)
    assert list(store.iterdir()) == []


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing\.bin: there is no such file"):
        add_files("own", [tmp_path / "nothing.bin"], {"family": "clip"})
    with pytest.raises(WeightsError, match="own: say what to add: files of this machine"):
        add_files("own", [], {"family": "clip"})


@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
def test_a_link_that_cannot_be_made(mine: Path, store: Path) -> None:
    (store / "own").write_text("in the way")
    with pytest.raises(WeightsError, match="cannot write or read this file"):
        add_files("own", [mine], {"family": "clip"}, link=True)


def test_addresses_of_ones_own_with_their_hash(server: Server, notes: Notes) -> None:
    server.files["/dir/a%20b.bin"] = A
    file = WeightFile("", server.url("/dir/a%20b.bin"), None, sha256(A))
    with pytest.raises(WeightsError, match=r"'a b\.bin' is no plain relative path"):
        add_urls("own", [file], {"family": "clip"})
    named = WeightFile("a.bin", file.url, None, sha256(A))
    added = add_urls("own", [named], {"family": "clip", "license": "MIT", "commercial": "yes"})
    assert checkpoint("own", "clip") == added
    assert verified_files(added)["a.bin"].read_bytes() == A


def test_addresses_of_ones_own_on_trust(server: Server, store: Path, notes: Notes) -> None:
    server.files["/a.bin"] = A
    files = [WeightFile("", server.url("/a.bin"), None, None)]
    with pytest.raises(WeightsError, match=r"Give it with --sha256, or .*: --trust"):
        add_urls("own", files, {"family": "clip"})
    added = add_urls("own", files, {"family": "clip"}, trust=True, watcher=notes)
    assert added.files == (WeightFile("a.bin", files[0].url, 5, sha256(A)),)
    assert user_lock().checkpoints == {"own": added}
    assert list(verified_files(added)) == ["a.bin"]


def test_addresses_for_a_listed_checkpoint_are_refused(server: Server, store: Path) -> None:
    list_two(server, store, None)
    with pytest.raises(WeightsError, match="two is listed already, with addresses of its own"):
        add_urls("two", [WeightFile("x", server.url("/a.bin"), None, None)])

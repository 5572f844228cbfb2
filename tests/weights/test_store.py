"""Giving out files that were checked, and refusing those that were not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from visionweave.errors import WeightsError
from visionweave.weights import Checkpoint, WeightFile, verified_files
from visionweave.weights import store as store_module
from visionweave.weights.accepting import accept
from visionweave.weights.licenses import is_accepted
from visionweave.weights.store import (
    check_files,
    checkpoint_size,
    folder_of,
    receipts_of,
    size_text,
    state_of,
)

TINY = Checkpoint(
    name="tiny",
    family="clip",
    source="",
    revision="",
    files=(
        WeightFile("a.bin", "https://example.org/a", 5, hashlib.sha256(b"first").hexdigest()),
        WeightFile("sub/b.bin", "https://example.org/b", 6, hashlib.sha256(b"second").hexdigest()),
    ),
    format="safetensors",
    license="MIT",
    commercial="yes",
    terms="",
    paper="",
    config={},
)
RESTRICTED = dataclasses.replace(TINY, commercial="no", license="No Sale", terms="Not for sale.")


def put(checkpoint: Checkpoint = TINY, first: bytes = b"first", second: bytes = b"second") -> Path:
    folder = folder_of(checkpoint)
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    (folder / "a.bin").write_bytes(first)
    (folder / "sub/b.bin").write_bytes(second)
    return folder


def test_files_that_are_right_are_given_out(store: Path) -> None:
    folder = put()
    assert folder == store / "tiny"
    assert verified_files(TINY) == {"a.bin": folder / "a.bin", "sub/b.bin": folder / "sub/b.bin"}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        pytest.param(
            TINY,
            "tiny is not on this machine; fetch it with: visionweave weights pull tiny "
            "(11 bytes, MIT)",
            id="fetch",
        ),
        pytest.param(
            RESTRICTED, "pull tiny (11 bytes, No Sale, not for commercial use)", id="licence"
        ),
        pytest.param(
            dataclasses.replace(TINY, commercial="conditional"),
            "(11 bytes, MIT, with conditions)",
            id="conditions",
        ),
        pytest.param(
            dataclasses.replace(TINY, files=(WeightFile("a", "https://x.org", None, None),)),
            "hash of its published files is not known yet. On a machine with a network, to fetch "
            "it as it is: visionweave weights add tiny --trust (size not known, MIT)",
            id="unknown hash",
        ),
        pytest.param(
            dataclasses.replace(TINY, files=(WeightFile("a", "", 5, "0" * 64),)),
            "add it from a file: visionweave weights add tiny FILE",
            id="no address",
        ),
        pytest.param(
            dataclasses.replace(TINY, shipped=True), "it comes with visionweave", id="shipped"
        ),
    ],
)
def test_files_that_are_not_here(checkpoint: Checkpoint, message: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(message)):
        verified_files(checkpoint)


def test_one_file_that_is_not_here() -> None:
    (put() / "sub/b.bin").unlink()
    with pytest.raises(WeightsError, match=r"not on this machine in full \(sub/b\.bin\)"):
        verified_files(TINY)


def test_all_files_that_are_wrong_are_named_with_what_to_do() -> None:
    folder = put(first=b"FIRST", second=b"SECOND")
    got = hashlib.sha256(b"FIRST").hexdigest()
    with pytest.raises(WeightsError, match=f"got:      sha256 {got}") as caught:
        verified_files(TINY)
    text = str(caught.value)
    assert f"{folder / 'sub/b.bin'}: this is not the file that the list of weights names" in text
    assert text.count("fetch it again: visionweave weights pull tiny") == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": (WeightFile("a.bin", "", 5, "0" * 64),)}, "add the right one: visionweave"),
        ({"files": (WeightFile("a.bin", "", 5, None),)}, "its hash is not known yet, so it cannot"),
    ],
    ids=["added by hand", "unknown hash"],
)
def test_a_file_that_cannot_be_fetched_again(changes: dict[str, object], message: str) -> None:
    put()
    with pytest.raises(WeightsError, match=message):
        verified_files(dataclasses.replace(TINY, **changes))


def test_a_file_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put()
    verified_files(TINY)
    memo = json.loads((folder / ".verified.json").read_text())
    assert memo["a.bin"]["sha256"] == TINY.files[0].sha256
    hashed: list[Path] = []
    monkeypatch.setattr("visionweave.weights.receipts.sha256_of", hashed.append)
    verified_files(TINY)
    assert hashed == []


def test_a_changed_file_is_noticed_whatever_its_times_say() -> None:
    folder = put()
    verified_files(TINY)
    times = (folder / "a.bin").stat()
    (folder / "a.bin").write_bytes(b"FIRST")
    os.utime(folder / "a.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(WeightsError, match="this is not the file"):
        verified_files(TINY)
    (folder / "a.bin").write_bytes(b"first")
    assert verified_files(TINY)["a.bin"] == folder / "a.bin"


def test_another_hash_in_the_list_is_noticed() -> None:
    put()
    verified_files(TINY)
    other = dataclasses.replace(TINY.files[0], sha256="0" * 64)
    with pytest.raises(WeightsError, match="expected: sha256 0000"):
        verified_files(dataclasses.replace(TINY, files=(other,)))


@pytest.mark.parametrize("memo", [b"not JSON", b"[]"], ids=["broken", "another shape"])
def test_a_broken_memory_is_no_memory(memo: bytes) -> None:
    folder = put()
    (folder / ".verified.json").write_bytes(memo)
    assert state_of(TINY) == "here"
    assert list(verified_files(TINY)) == ["a.bin", "sub/b.bin"]
    assert state_of(TINY) == "verified"


def test_a_memory_that_cannot_be_written_is_done_without(store: Path) -> None:
    folder = put()
    (folder / ".verified.json").mkdir()
    assert list(verified_files(TINY)) == ["a.bin", "sub/b.bin"]
    assert state_of(TINY) == "here"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_file_that_may_not_be_read() -> None:
    (put() / "a.bin").chmod(0)
    with pytest.raises(WeightsError, match="cannot read this file: Permission denied"):
        verified_files(TINY)


def test_the_state_of_a_checkpoint() -> None:
    assert state_of(TINY) == "no"
    folder = put()
    assert state_of(TINY) == "here"
    verified_files(TINY)
    assert state_of(TINY) == "verified"
    (folder / "a.bin").touch()
    assert state_of(TINY) == "here"
    (folder / "a.bin").unlink()
    assert state_of(TINY) == "in part"
    assert not receipts_of(TINY).holds("a.bin", TINY.files[0].sha256 or "")
    unknown = dataclasses.replace(TINY, files=(WeightFile("a.bin", "", None, None),))
    assert state_of(unknown) == "hash not known yet"


def test_checking_again_hashes_what_is_remembered() -> None:
    put(second=b"SECOND")
    receipts = receipts_of(TINY)
    receipts.remember("sub/b.bin", TINY.files[1].sha256 or "")
    assert check_files(TINY) == []
    (wrong,) = check_files(TINY, again=True)
    assert "sub/b.bin: this is not the file" in wrong
    assert not receipts.holds("sub/b.bin", TINY.files[1].sha256 or "")


def test_a_restricted_checkpoint_waits_for_its_licence(store: Path) -> None:
    put(RESTRICTED)
    message = (
        "tiny is under a licence that restricts its use: No Sale (commercial use: no). Not for "
        "sale. If your use is allowed, say so once with: visionweave weights pull tiny "
        "--accept-license 'No Sale'"
    )
    with pytest.raises(WeightsError, match=re.escape(message)):
        verified_files(RESTRICTED)
    accept(RESTRICTED)
    assert list(verified_files(RESTRICTED)) == ["a.bin", "sub/b.bin"]
    (entry,) = json.loads((store / "licenses.json").read_text())
    assert (entry["license"], entry["terms"]) == ("No Sale", "Not for sale.")
    assert entry["accepted_for"] == "tiny"


def test_a_licence_is_accepted_in_its_terms() -> None:
    accept(RESTRICTED)
    assert is_accepted(dataclasses.replace(RESTRICTED, name="another"))
    assert not is_accepted(dataclasses.replace(RESTRICTED, terms="Pay us."))
    accept(RESTRICTED)
    accept(dataclasses.replace(RESTRICTED, terms="Pay us."))
    assert is_accepted(RESTRICTED)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", "null"])
def test_a_broken_list_of_licences_is_an_error(store: Path, text: str) -> None:
    (store / "licenses.json").write_text(text)
    for use in (is_accepted, accept):
        with pytest.raises(WeightsError, match=r"licenses\.json: cannot read which licences"):
            use(RESTRICTED)
    assert (store / "licenses.json").read_text() == text


def test_a_shipped_checkpoint_lies_in_the_package_and_is_remembered_in_the_store(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = dataclasses.replace(TINY, shipped=True)
    package = Path(store_module.__file__).parent
    assert folder_of(shipped) == package / "mini" / "tiny"
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "package" / "store.py"))
    folder = put(shipped)
    assert verified_files(shipped)["a.bin"] == tmp_path / "package/mini/tiny/a.bin"
    assert (store / "tiny/.verified.json").is_file()
    assert not (folder / ".verified.json").exists()
    (folder / "a.bin").write_bytes(b"FIRST")
    with pytest.raises(WeightsError, match="it comes with visionweave; install that again"):
        verified_files(shipped)


def test_sizes_are_for_people() -> None:
    assert [size_text(n) for n in (5, 4186, 353_976_522, 3_010_210_801)] == [
        "5 bytes",
        "4 kB",
        "354 MB",
        "3.0 GB",
    ]
    big, small = WeightFile("a", "", 990_000_000, None), WeightFile("b", "", None, None)
    assert checkpoint_size(dataclasses.replace(TINY, files=(big, small))) == "over 990 MB"
    assert checkpoint_size(dataclasses.replace(TINY, files=(small,))) == "size not known"


OFFLINE = """
import sys
from visionweave.errors import WeightsError
from visionweave.weights import checkpoint, verified_files
try:
    verified_files(checkpoint("sam-vit-b", "sam"))
except WeightsError as error:
    print(error)
print([name for name in ("httpx2", "torch") if name in sys.modules])
"""


def test_giving_out_files_loads_neither_network_nor_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=True
    )
    said, loaded = done.stdout.splitlines()
    assert said.startswith("sam-vit-b is not on this machine; fetch it with:")
    assert loaded == "[]"

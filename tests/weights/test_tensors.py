"""Reading tensors: what is read, and what is refused because it would have to run code."""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from visionweave.errors import WeightsError
from visionweave.weights import read_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True])}


def same(read: dict[str, torch.Tensor]) -> bool:
    return read.keys() == TENSORS.keys() and all(torch.equal(read[k], TENSORS[k]) for k in TENSORS)


class Runs:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"], ids=["by suffix", "by first bytes"])
def test_safetensors(name: str, tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / name)
    assert same(read_tensors(tmp_path / name))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_pickle_of_tensors(zipped: bool, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(tmp_path / "a.pt"))


def test_nothing_is_unwrapped(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "epoch": 3}, tmp_path / "a.pt")
    read = read_tensors(tmp_path / "a.pt")
    assert same(read["model"])
    assert read["epoch"] == 3


def test_writing_into_what_was_read_does_not_reach_the_file(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.pt")
    read_tensors(tmp_path / "a.pt")["a.weight"].zero_()
    assert same(read_tensors(tmp_path / "a.pt"))


def test_a_pickle_that_torch_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with pytest.raises(WeightsError, match="this is no file of tensors"):
        read_tensors(tmp_path / "a.pkl")


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    by_torch: bool, tmp_path: Path
) -> None:
    evil, path = Runs(tmp_path / "it ran"), tmp_path / "evil.pt"
    if by_torch:
        torch.save({"a": evil}, path)
    else:
        path.write_bytes(pickle.dumps(evil))
    with pytest.raises(WeightsError, match=r"evil\.pt: this"):
        read_tensors(path)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
        ({"args": argparse.Namespace(lr=1)}, r"argparse\.Namespace"),
    ],
    ids=["a module", "tensors beside an object"],
)
def test_a_pickle_of_objects_is_refused_with_the_way_out(
    content: object, wanted: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "a.pt")
    message = rf"have to run code \({wanted}\).* visionweave weights add NAME FILE"
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / "a.pt")


def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript is old
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(tmp_path / "a.pt"))
    with pytest.raises(WeightsError, match=r"TorchScript archive.* safetensors\.torch\.save_file"):
        read_tensors(tmp_path / "a.pt")


def test_a_list_is_not_a_table_of_tensors(tmp_path: Path) -> None:
    torch.save([TENSORS], tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="expected a table of tensors by name; it holds a list"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.safetensors", b"", "safetensors file is damaged"),
        ("a.safetensors", b"<html>not found</html>", "safetensors file is damaged"),
        ("a.pt", b"", "cannot read tensors from this file: it ends too early"),
        ("a.pt", b"<html>not found</html>", "this is no file of tensors"),
        ("a.pt", b"PK\x03\x04 and no more", "damaged or cut short"),
    ],
)
def test_a_damaged_file(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    ("zipped", "message"), [(True, "damaged or cut short"), (False, "expected .* more bytes")]
)
def test_half_a_file(zipped: bool, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(WeightsError, match=message):
        read_tensors(path)


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    with pytest.raises(WeightsError, match="cannot read tensors from this file"):
        read_tensors(tmp_path / "a.zip")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read this file: No such file"):
        read_tensors(tmp_path / "a.pt")

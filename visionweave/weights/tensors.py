"""Reading tensors from a file without running anything that the file says."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

from visionweave.errors import WeightsError

__all__ = ["read_tensors"]


def read_tensors(path: Path) -> dict[str, Any]:
    """Read the tensors of a file onto the CPU.

    A safetensors file is known by its suffix or its first bytes; all else is read as torch saves
    it, restricted to tensors and plain data. What is inside is returned as it is: a table that
    holds the weights under "model" or "state_dict" is not unwrapped.

    Args:
        path: the file. Where the format allows, it is mapped into memory, not copied.

    Returns:
        The tensors by name; from a pickle, also tables and plain data by name.

    Raises:
        WeightsError: the file is damaged, is no file of tensors, or would have to run code.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read this file: {error.strerror}") from None
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return _read_safetensors(path)
    is_zip = start.startswith(b"PK")
    if is_zip and _is_torchscript(path):
        raise WeightsError(
            f"{path}: this is a TorchScript archive, which holds code besides tensors, and is not "
            f"loaded. {_WAY_OUT}"
        )
    return _read_pickle(path, mmap=is_zip)


_WAY_OUT = (
    "Take a safetensors file of the same weights where there is one; else save its state dict "
    "with safetensors.torch.save_file, on a machine where its code may run, and add that file: "
    "visionweave weights add NAME FILE --family FAMILY"
)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise WeightsError(f"{path}: this safetensors file is damaged: {error}") from None


def _is_torchscript(path: Path) -> bool:
    """Whether a zip archive holds a program beside its tensors, as `torch.jit.save` writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path}: this archive is damaged or cut short: {error}") from None


def _read_pickle(path: Path, *, mmap: bool) -> dict[str, Any]:
    import torch

    try:
        with warnings.catch_warnings():  # that it was not torch that wrote it is no news here
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_asks_for(error)}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, UnicodeError) as error:
        # What torch adds to some of its messages is advice to run the code after all.
        reason = str(error).partition("\n")[0].partition(". In PyTorch")[0] or "it ends too early"
        raise WeightsError(f"{path}: cannot read tensors from this file: {reason}") from None
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path}: expected a table of tensors by name; it holds a {type(content).__name__}"
        )
    return content


def _asks_for(error: pickle.UnpicklingError) -> str:
    """Say what a pickle wanted that is neither tensor nor plain data."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted is None:
        return "this is no file of tensors: neither safetensors nor what torch saves"
    return f"this pickle would have to run code ({wanted[1]}), and is not loaded. {_WAY_OUT}"

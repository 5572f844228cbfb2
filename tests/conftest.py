"""What all tests share: none touches the cache of who runs them; all compute alike everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# What a machine has of its own, a GPU or bf16 in hardware, is for the tests that ask for it. For
# processes that tests start, too.
os.environ |= {"VISIONWEAVE_DEVICE": "cpu", "VISIONWEAVE_PRECISION": "fp32"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the result cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VISIONWEAVE_CACHE", str(folder))
    return folder

"""What all tests share: none of them touches the cache of who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the result cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VISIONWEAVE_CACHE", str(folder))
    return folder

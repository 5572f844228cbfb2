"""Where that lies which is kept for all jobs of a user."""

from __future__ import annotations

import os
from pathlib import Path

from visionweave.errors import WeaveError

__all__ = ["kept_folder"]


def kept_folder(variable: str, name: str) -> Path:
    """Return the folder that an environment variable names, else one in the user's cache folder.

    Args:
        variable: the environment variable.
        name: the folder's name in the cache folder.

    Raises:
        WeaveError: the user has no home folder to look in.
    """
    chosen = os.environ.get(variable)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        return Path(cache).expanduser() / "visionweave" / name
    except RuntimeError:  # no $HOME, and no entry in the system's list of users
        raise WeaveError(
            f"{chosen or cache}: there is no such home folder; set VISIONWEAVE_CACHE and "
            "VISIONWEAVE_WEIGHTS to folders of yours"
        ) from None

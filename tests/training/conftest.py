"""The trainings' tests need the artwork and the `training` extra; without them they are skipped."""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # training/ is not installed

_ARTWORK = Path(os.environ.get("VISIONWEAVE_ARTWORK", "~/.cache/visionweave/artwork")).expanduser()
_PRESENT = (_ARTWORK / "node_modules" / "emojibase-data").exists()
_EXTRA = all(importlib.util.find_spec(name) for name in ("cv2", "resvg_py"))

# Importing training.world would fetch what is missing, and no test may need the network.
collect_ignore_glob = [] if _PRESENT and _EXTRA else ["test_*.py"]

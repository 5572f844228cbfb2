"""Checkpoints: which there are, where they come from, and whether they are here and right.

`weights.lock` lists them. `visionweave weights pull` fetches one and checks it; a node finds it
by name and is given files that were checked:

entry = checkpoint("base", family="sam")
tensors = read_tensors(verified_files(entry)["sam_vit_b.pth"])

Nothing here touches the network but the commands `pull` and `add`.
"""

from visionweave.weights.lock import Checkpoint, WeightFile
from visionweave.weights.lookup import checkpoint
from visionweave.weights.store import verified_files
from visionweave.weights.tensors import read_tensors

__all__ = ["Checkpoint", "WeightFile", "checkpoint", "read_tensors", "verified_files"]

"""Zero-1-to-3: new views of an object, from a cutout of it and where the camera shall stand.

Paper: Liu et al. 2023, "Zero-1-to-3: Zero-shot One Image to 3D Object", arXiv:2303.11328.
Code: diffusers' networks (Apache-2.0) and transformers' CLIP; the sampler is visionweave's own.
Checkpoints in weights.lock: family "zero123" (Zero123, Zero123-XL, Stable Zero123), about 5 GB in
fp32; most forbid commercial use.
"""

from __future__ import annotations

from .nodes import CAMERA_DISTANCE, CAMERA_FOV_DEG, Views

__all__ = ["CAMERA_DISTANCE", "CAMERA_FOV_DEG", "Views"]

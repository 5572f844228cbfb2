"""Puts weights.lock, which lies at the top for people to read, beside the code that reads it.

All else about the build is said in pyproject.toml.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

LOCK = "weights.lock"


class BuildWithLock(build_py):
    """Builds the packages, and `visionweave/weights/weights.lock`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has it at the top, where the code finds it too
            self.copy_file(LOCK, self._target())

    def get_output_mapping(self) -> dict[str, str]:
        return {**super().get_output_mapping(), self._target(): LOCK}

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), LOCK]

    def _target(self) -> str:
        return str(Path(self.build_lib, "visionweave", "weights", LOCK))


setup(cmdclass={"build_py": BuildWithLock})

"""The command line. `main` is the console command `visionweave`.

Each command imports what it needs when it runs, so that `--help` answers at once.
"""

from visionweave.cli.app import main

__all__ = ["main"]

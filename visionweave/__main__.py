"""`python -m visionweave`: the same as the console command."""

import sys

from visionweave.cli import main

sys.exit(main())

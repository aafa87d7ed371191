"""`python -m pkd` and `torchrun -m pkd`."""

from __future__ import annotations

import sys

from pkd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

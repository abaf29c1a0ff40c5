"""Run the command as ``python -m patchsim``."""

import sys

from patchsim.cli import main

if __name__ == "__main__":
    sys.exit(main())

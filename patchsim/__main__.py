"""Run the command as ``python -m patchsim``."""

from patchsim.cli import main

if __name__ == "__main__":
    main()

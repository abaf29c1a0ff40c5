"""Run the command as ``python -m patchsim``."""

from patchsim.cli import run_as_process

if __name__ == "__main__":
    run_as_process()

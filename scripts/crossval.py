"""The step `crossval`, which is facemask/cli/crossval_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("crossval")

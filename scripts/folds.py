"""The step `folds`, which is facemask/cli/folds_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("folds")

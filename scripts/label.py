"""The step `label`, which is facemask/cli/label_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("label")

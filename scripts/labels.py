"""The step `labels`, which is facemask/cli/labels_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("labels")

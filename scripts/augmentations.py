"""The step `augmentations`, which is facemask/cli/augmentations_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("augmentations")

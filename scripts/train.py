"""The step `train`, which is facemask/cli/train_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("train")

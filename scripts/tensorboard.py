"""The step `tensorboard`, which is facemask/cli/tensorboard_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("tensorboard")

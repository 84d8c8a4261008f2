"""The step `next`, which is facemask/cli/next_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("next")

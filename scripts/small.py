"""The step `small`, which is facemask/cli/small_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("small")

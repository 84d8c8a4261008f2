"""The step `data`, which is facemask/cli/data_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("data")

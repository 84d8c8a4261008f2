"""The step `records`, which is facemask/cli/records_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("records")

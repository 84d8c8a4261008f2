"""The step `check`, which is facemask/cli/check_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("check")

"""The step `compare`, which is facemask/cli/compare_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("compare")

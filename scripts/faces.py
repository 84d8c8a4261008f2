"""The step `faces`, which is facemask/cli/faces_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("faces")

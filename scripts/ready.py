"""The step `ready`, which is facemask/cli/ready_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("ready")

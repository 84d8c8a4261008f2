"""The step `doctor`, which is facemask/cli/doctor_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("doctor")

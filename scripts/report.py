"""The step `report`, which is facemask/cli/report_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("report")

"""The step `runs`, which is facemask/cli/runs_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("runs")

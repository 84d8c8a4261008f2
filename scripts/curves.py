"""The step `curves`, which is facemask/cli/curves_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("curves")

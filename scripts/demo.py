"""The step `demo`, which is facemask/cli/demo_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("demo")

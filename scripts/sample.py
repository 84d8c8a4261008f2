"""The step `sample`, which is facemask/cli/sample_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("sample")

"""The step `clean`, which is facemask/cli/clean_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("clean")

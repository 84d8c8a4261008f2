"""The step `page`, which is facemask/cli/page_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("page")

"""The step `suspects`, which is facemask/cli/suspects_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("suspects")

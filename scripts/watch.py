"""The step `watch`, which is facemask/cli/watch_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("watch")

"""The step `prelabel`, which is facemask/cli/prelabel_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("prelabel")

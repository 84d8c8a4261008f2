"""The step `export`, which is facemask/cli/export_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("export")

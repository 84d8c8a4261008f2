"""The step `infer`, which is facemask/cli/infer_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("infer")

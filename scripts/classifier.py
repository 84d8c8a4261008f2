"""The step `classifier`, which is facemask/cli/classifier_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("classifier")

"""The step `eval`, which is facemask/cli/eval_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("eval")

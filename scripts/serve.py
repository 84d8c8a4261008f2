"""The step `serve`, which is facemask/cli/serve_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("serve")

"""The step `import`, which is facemask/cli/import_command.py."""

from facemask.cli import run_step

if __name__ == "__main__":
    run_step("import")

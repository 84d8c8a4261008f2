"""`make doctor`: say what was found on this machine, and what is missing."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command

PROBE = """
from scripts.tfod import compat
compat.install()
from object_detection import model_lib_v2
from scripts.support import diagnosis
print(diagnosis.probe_result())
"""


def main(
    model: Annotated[
        str, typer.Option(help="The model of configs/models.yaml whose place in the zoo is asked.")
    ] = "ssd_resnet50_v1_fpn_640x640",
) -> None:
    """Say what was found: Python, TensorFlow, devices, bf16, memory, disk, display, the zoo.

    Ends with code 2 if the pipeline cannot work like this.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from scripts.support import diagnosis, downloads
    from scripts.tfod import zoo

    root = Path(__file__).resolve().parents[1]
    console = Console(highlight=False)
    with console.status("looking (TensorFlow takes a few seconds)"):
        found = diagnosis.findings(
            root, [sys.executable, "-c", PROBE], lambda: downloads.unreachable(zoo.find_model(model).archive)
        )
    style = {diagnosis.State.GOOD: "green", diagnosis.State.NOTE: "yellow", diagnosis.State.BROKEN: "bold red"}
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in found:
        table.add_row(f"[{style[finding.state]}]{finding.state.value}[/]", finding.subject, escape(finding.found))
    console.print(table)
    raise typer.Exit(command.USER_ERROR if any(f.state is diagnosis.State.BROKEN for f in found) else 0)


if __name__ == "__main__":
    command.run(main)

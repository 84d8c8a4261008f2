"""Check the machine: Python, TensorFlow, devices, memory, disk, display."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from facemask.cli import options
from facemask.core import command_line

if TYPE_CHECKING:
    from facemask.core.diagnosis import Finding

PROBE = """
from facemask.tfod import compat
compat.install()
from object_detection import model_lib_v2
from facemask.core import diagnosis
print(diagnosis.probe_result())
"""


def main(
    model: options.Model = options.MODEL,
) -> None:
    """Check Python, TensorFlow, devices, bf16, memory, disk, the display and the zoo's server, and measure the speed.

    Ends with code 2 if the pipeline cannot work on this machine.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from facemask.core import diagnosis, downloads
    from facemask.tfod import model_zoo

    root = Path(__file__).resolve().parents[2]
    console = Console(highlight=False)
    with console.status("checking (TensorFlow takes a few seconds)"):
        found = diagnosis.diagnose_machine(
            root, [sys.executable, "-c", PROBE], lambda: downloads.why_unreachable(model_zoo.find_model(model).archive)
        )
        found.append(check_speed())
    style = {diagnosis.State.GOOD: "green", diagnosis.State.NOTE: "yellow", diagnosis.State.BROKEN: "bold red"}
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in found:
        table.add_row(f"[{style[finding.state]}]{finding.state.value}[/]", finding.subject, escape(finding.found))
    console.print(table)
    raise typer.Exit(command_line.USER_ERROR if any(f.state is diagnosis.State.BROKEN for f in found) else 0)


def check_speed() -> "Finding":
    """Recommend detectors for this machine from a short measurement."""
    from facemask.core import hardware
    from facemask.core.diagnosis import Finding, State
    from facemask.detect import speed_probe, speed_tiers
    from facemask.ready import shipped_detector

    try:
        speed = speed_probe.measure_processor()
    except ImportError as error:
        return Finding("Detectors", f"OpenVINO cannot be loaded ({error}): make setup", State.NOTE)
    text = speed_tiers.describe_tiers(speed, shipped=shipped_detector.is_shipped())
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > hardware.usable_cores() / 2:
        return Finding(
            "Detectors", f"{text}\nother programs are running (load {load:.1f}): too slow an estimate", State.NOTE
        )
    return Finding("Detectors", text)

"""`make compare`: several evaluations of the same images side by side, with confidence intervals."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    runs: Annotated[
        str, typer.Option(help="Names of two or more evaluated runs: a,b,c. The first is the yardstick.")
    ] = "",
    draws: Annotated[int, typer.Option(min=100, help="Draws of the images for the confidence intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    out: Annotated[str, typer.Option(help="Name of the page in the folder of the reports.")] = "compare",
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("workspace/reports"),
) -> None:
    """Write <reports>/compare.html and compare.json: which is better, and is it more than chance?"""
    from rich.console import Console

    from scripts.scoring import comparison, evaluation, pages, tables
    from scripts.support.files import replacing, write_json
    from scripts.support.provenance import made_by

    saved = [evaluation.read(reports / name) for name in comparison.names(runs)]
    compared = comparison.compare(saved, draws, seed)
    write_json(reports / f"{out}.json", compared.to_json() | {"made": made_by("compare", runs=runs)})
    path = reports / f"{out}.html"
    with replacing(path) as beside:
        beside.write_text(pages.compare(saved, compared), encoding="utf-8")
    console = Console(highlight=False)
    console.print(tables.comparison(compared))
    for system in compared.systems[1:]:
        console.print(f"{system.name}: {comparison.verdict(system, compared.systems[0])}", soft_wrap=True)
    console.print(f"{path}", soft_wrap=True)


if __name__ == "__main__":
    command.run(main)

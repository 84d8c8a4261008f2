"""The page `/statistics`: what `make watch` counted, now, today and by hour. Plain HTML that loads nothing."""

import time
from pathlib import Path

import jinja2
from fastapi import FastAPI
from starlette.responses import HTMLResponse

from facemask.serving.detection_service import RefusedError
from facemask.watch.statistics_summary import StatisticsSummary, read_summary

TEMPLATE = "statistics.html.jinja"


def add_route(app: FastAPI, database: Path) -> None:
    """Add the page. It answers with 404 while there is no database.

    Args:
        app: The application.
        database: The SQLite file of a watch. It is opened for each request, and only for reading.
    """

    @app.get("/statistics", response_class=HTMLResponse, include_in_schema=False)
    def statistics(camera: str | None = None) -> HTMLResponse:  # in a thread: SQLite may wait
        if not database.is_file():
            raise RefusedError(404, f"No statistics: there is no {database.name}. `make watch` writes it.")
        return HTMLResponse(to_html(read_summary(database, time.time(), camera), camera))


def to_html(summary: StatisticsSummary, camera: str | None = None) -> str:
    """The page of a summary, of one camera or of all."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template(TEMPLATE).render(
        summary=summary,
        camera=camera,
        share=lambda share: "-" if share is None else f"{share:.0%}",
        lines=sorted({line for _, visitors in summary.hours for line in visitors.entries}),
        most=max((visitors.people for _, visitors in summary.hours), default=0) or 1,
    )

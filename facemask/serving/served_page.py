"""The page of `make page`, with this server's detectors behind it instead of a network in the browser."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import FileResponse

from facemask.serving.detection_service import AUTO, DetectionService
from facemask.serving.page_files import MEDIA_TYPES, page_files, page_settings


def add_routes(app: FastAPI, service: DetectionService, privacy: str, statistics: Path | None = None) -> None:
    """Add the page's files, and `page.json`.

    Args:
        app: The application.
        service: The service that detects.
        privacy: A sentence on who can see the pictures.
        statistics: The database of a watch; while it exists, the page has a link to its statistics.
    """
    settings = page_settings(
        "server",
        privacy,
        service.about,
        service.label_map,
        service.thresholds,
        runtimes=[
            {"label": f"{service.auto_name} (default)", "value": AUTO},
            *({"label": name, "value": name} for name in service.other_runtimes),
        ],
    )
    # No other file can be asked for: names are looked up, and never joined to a folder.
    files = {path.name: path for path in page_files()}

    @app.get("/page.json", include_in_schema=False)
    async def page_json() -> dict[str, Any]:
        return settings | {"statistics": statistics is not None and statistics.is_file()}

    def add_file(route: str, name: str) -> None:
        media_type = MEDIA_TYPES[files[name].suffix]

        @app.get(route, include_in_schema=False)
        async def file() -> FileResponse:
            # `no-cache` lets a browser keep it, but ask whether it is still the same.
            return FileResponse(files[name], media_type=media_type, headers={"Cache-Control": "no-cache"})

    for name in files:
        add_file(f"/{name}", name)
    add_file("/", "index.html")

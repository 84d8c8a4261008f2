"""The HTTP API: POST a picture, get its boxes as JSON or drawn on it. See `docs/serve.md`.

Every error is `{"error": "..."}`, with a status of 4xx if the request is wrong and 5xx if the server fails.
"""

import dataclasses
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from facemask.core.errors import UserError
from facemask.serving.detection_service import AUTO, DetectionRequest, DetectionResponse, DetectionService, RefusedError

_RETRY_AFTER = "2"

_PARAMETERS = ("threshold", "runtime", "name")
"""The parameters of /detect and /draw."""

_BODY = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}

Threshold = Annotated[
    float | None, Query(ge=0, le=1, description="The least score of a box. Default: the server's for each class.")
]
Runtime = Annotated[str, Query(description="The runtime, one of those that /health lists.")]
Name = Annotated[str, Query(max_length=1000, description="The picture's name in the response.")]


def add_routes(app: FastAPI, service: DetectionService) -> None:
    """Add the routes and the error handlers.

    Args:
        app: The application.
        service: The service that detects.
    """

    @app.post("/detect", openapi_extra=_BODY, summary="Detect: the boxes of the picture in the body, as JSON")
    async def detect(
        request: Request, threshold: Threshold = None, runtime: Runtime = AUTO, name: Name = "picture"
    ) -> JSONResponse:
        return JSONResponse((await _respond(service, request, DetectionRequest(b"", name, threshold, runtime))).boxes)

    @app.post("/draw", openapi_extra=_BODY, summary="Draw: the picture in the body with its boxes, as JPEG")
    async def draw(
        request: Request, threshold: Threshold = None, runtime: Runtime = AUTO, name: Name = "picture"
    ) -> Response:
        response = await _respond(service, request, DetectionRequest(b"", name, threshold, runtime, draw=True))
        return Response(response.drawn, media_type="image/jpeg")

    @app.get("/health", summary="The state of the server, its runtimes, classes and model")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "inside": service.inside,
            "runtimes": list(service.runtimes),
            "classes": list(service.label_map.names),
            "model": service.about,
        }

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return _error(error.status, str(error))

    @app.exception_handler(UserError)
    async def unusable(request: Request, error: UserError) -> JSONResponse:
        return _error(503, str(error))

    @app.exception_handler(HTTPException)
    async def wrong(request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        message = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return _error(400, message)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return _error(500, "Internal error. The server's log has the details.")


async def _respond(service: DetectionService, request: Request, detection: DetectionRequest) -> DetectionResponse:
    for name in request.query_params:
        if name not in _PARAMETERS:
            takes = ", ".join(_PARAMETERS)
            raise RefusedError(400, f"{name[:80]}: no such parameter. {request.url.path} takes {takes}.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise RefusedError(415, "Send the picture itself as the body, not a form: curl --data-binary @photo.jpg ...")
    with service.reserve_place():
        try:
            data = await request.body()
        except ClientDisconnect:  # the client is gone; the server must not log an error
            raise RefusedError(400, "The upload broke off.") from None
        if not data:
            raise RefusedError(400, "The body is empty. Send a picture: curl --data-binary @photo.jpg ...")
        if len(data) > service.limits.bytes:
            raise RefusedError(413, f"Too large: the limit is {service.limits.megabytes} MB.")
        return await service.detect(dataclasses.replace(detection, data=data))


def _error(status: int, message: str) -> JSONResponse:
    headers = {"Retry-After": _RETRY_AFTER} if status == 503 else None
    return JSONResponse({"error": message}, status, headers)

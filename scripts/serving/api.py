"""The HTTP API: a picture in the body of a POST, its boxes as JSON or drawn in the answer; see `docs/serve.md`.

Every answer that is none is `{"error": "..."}`, with a status of 4xx where the request is at fault.
"""

import dataclasses
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from scripts.serving.service import AUTO, Answer, Question, RefusedError, Service
from scripts.support.errors import UserError

_RETRY_AFTER = "2"

_BODY = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}

Threshold = Annotated[float, Query(ge=0, le=1, description="Score from which boxes count.")]
Runtime = Annotated[str, Query(description="What runs the model, of those that /health lists.")]
Name = Annotated[str, Query(max_length=1000, description="The picture's name, for the answer.")]


def add_to(app: FastAPI, service: Service, threshold: float) -> None:
    """Add the routes and the words for what goes wrong.

    Args:
        app: The application.
        service: What answers.
        threshold: The score from which boxes count where the request says nothing.
    """

    @app.post("/detect", openapi_extra=_BODY, summary="The boxes of the picture in the body, as JSON")
    async def detect(
        request: Request, threshold: Threshold = threshold, runtime: Runtime = AUTO, name: Name = "picture"
    ) -> JSONResponse:
        return JSONResponse((await _look(service, request, Question(b"", name, threshold, runtime))).boxes)

    @app.post("/draw", openapi_extra=_BODY, summary="The picture in the body with its boxes on it, as JPEG")
    async def draw(
        request: Request, threshold: Threshold = threshold, runtime: Runtime = AUTO, name: Name = "picture"
    ) -> Response:
        answer = await _look(service, request, Question(b"", name, threshold, runtime, draw=True))
        return Response(answer.drawn, media_type="image/jpeg")

    @app.get("/health", summary="That the server is there, and what it offers")
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
        said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return _error(400, said)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return _error(500, "Something went wrong here; the server's log says what.")


async def _look(service: Service, request: Request, question: Question) -> Answer:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise RefusedError(415, "Send the picture itself as the body, not a form: curl --data-binary @photo.jpg ...")
    with service.place():
        try:
            data = await request.body()
        except ClientDisconnect:  # nobody reads it, but it is no error of ours either
            raise RefusedError(400, "The upload broke off.") from None
        if not data:
            raise RefusedError(400, "The body is empty. Send a picture: curl --data-binary @photo.jpg ...")
        if len(data) > service.limits.bytes:
            raise RefusedError(413, f"Too large: the limit is {service.limits.megabytes} MB.")
        return await service.look(dataclasses.replace(question, data=data))


def _error(status: int, message: str) -> JSONResponse:
    headers = {"Retry-After": _RETRY_AFTER} if status == 503 else None
    return JSONResponse({"error": message}, status, headers)

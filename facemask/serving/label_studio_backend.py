"""Routes with which the server answers as a machine-learning backend of Label Studio.

Label Studio asks `/health` and `/setup` when it connects, and `/predict` for the boxes of tasks. The requests and
responses are those of https://labelstud.io/guide/ml_create. Boxes are in percent of the upright picture.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from facemask.data.voc import VocError, parse_untrusted_xml
from facemask.serving.detection_service import DetectionRequest, DetectionResponse, DetectionService, RefusedError
from facemask.serving.label_studio_pictures import LabelStudioPictures

MOST_TASKS = 1000
"""The most tasks of a request. Label Studio sends 100 or fewer."""

LARGEST_BODY = 2 << 20
"""The most bytes of a request, which names pictures and holds none."""


class SetupRequest(BaseModel):
    """What is read of a request for `/setup`. The host name and the token that Label Studio sends are not used."""

    label_schema: str = Field(alias="schema")


class Task(BaseModel):
    """What is read of a task."""

    id: int | str = ""
    data: dict[str, Any]


class PredictRequest(BaseModel):
    """What is read of a request for `/predict`."""

    tasks: list[Task] = Field(max_length=MOST_TASKS)
    label_config: str


@dataclass(frozen=True)
class RectangleControl:
    """The part of a labelling interface that takes our boxes.

    Attributes:
        from_name: The name of the `<RectangleLabels>`.
        to_name: The name of its `<Image>`.
        key: The key of the picture in a task's data.
        labels: The label for each of our classes.
    """

    from_name: str
    to_name: str
    key: str
    labels: Mapping[str, str]


def add_routes(app: FastAPI, service: DetectionService, pictures: LabelStudioPictures) -> None:
    """Add `/setup` and `/predict`; `/health` is the API's.

    Args:
        app: The application.
        service: The service that detects.
        pictures: Where the tasks' pictures may come from.
    """
    version = model_version(service.about)

    class LimitedRoute(APIRoute):  # type: ignore[misc]
        """A route whose body is read in a place of the service: FastAPI alone would read it before any limit."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_limited(request: Request) -> Response:
                with service.reserve_place():
                    body = await _read_body(request)

                async def receive() -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                return await handle(Request(request.scope, receive))

            return handle_limited

    router = APIRouter(route_class=LimitedRoute)

    @router.post("/setup", summary="Label Studio connects: which version of the model answers")
    async def setup(request: SetupRequest) -> dict[str, str]:
        find_control(request.label_schema, service.label_map.names)
        return {"model_version": version}

    @router.post("/predict", summary="Label Studio asks for the boxes of its tasks")
    async def predict(request: PredictRequest) -> dict[str, Any]:
        control = find_control(request.label_config, service.label_map.names)
        results = [await _predict(service, pictures, control, version, task) for task in request.tasks]
        return {"results": results, "model_version": version}

    app.include_router(router)


async def _read_body(request: Request) -> bytes:
    body, size = bytearray(), 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= LARGEST_BODY:  # the rest is dropped: many clients read a response only after they sent all
                body += part
    except ClientDisconnect:
        raise RefusedError(400, "The request broke off.") from None
    if size > LARGEST_BODY:
        raise RefusedError(413, f"Too large: the limit is {LARGEST_BODY >> 20} MB.")
    return bytes(body)


def model_version(about: Mapping[str, Any]) -> str:
    """A name that changes with the model: the run, its steps, and a digest of its description.

    Example:
        >>> model_version({"run": "default", "steps": 3000})
        'default-3000-d2d7cd2f'
    """
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return "-".join(str(part) for part in (about["run"], about.get("steps"), digest[:8]) if part is not None)


def find_control(config: str, classes: tuple[str, ...]) -> RectangleControl:
    """Find the first `<RectangleLabels>` of a labelling interface that has a label for each class.

    A `<Label>` stands for the class of its `value`, or for those that its `predicted_values` lists.

    Args:
        config: The labelling interface, XML.
        classes: Our classes.

    Raises:
        RefusedError: There is none.
    """
    try:
        root = parse_untrusted_xml(Path("label_config"), config.encode("utf-8", "replace"))
    except VocError as error:
        raise RefusedError(422, str(error)) from None
    pictures = {image.get("name"): image.get("value") or "" for image in root.iter("Image")}
    missing = list(classes)
    for control in root.iter("RectangleLabels"):
        labels: dict[str, str] = {}
        for label in control.iter("Label"):
            value = label.get("value") or ""
            for name in (value, *(label.get("predicted_values") or "").split(",")):
                labels.setdefault(name.strip(), value)
        missing = [name for name in classes if name not in labels]
        to_name = control.get("toName") or ""
        if not missing and pictures.get(to_name, "").startswith("$"):
            return RectangleControl(
                control.get("name") or "", to_name, pictures[to_name][1:], {name: labels[name] for name in classes}
            )
    wanted = " ".join(f'<Label value="{name}"/>' for name in classes)
    raise RefusedError(
        422, f'The labelling interface needs an <Image value="$..."> and its <RectangleLabels> with {wanted}.'
    )


async def _predict(
    service: DetectionService, pictures: LabelStudioPictures, control: RectangleControl, version: str, task: Task
) -> dict[str, Any]:
    value = task.data.get(control.key)
    if not isinstance(value, str):
        raise RefusedError(422, f"Task {task.id}: has no {control.key}.")
    with service.reserve_place():
        data = await asyncio.to_thread(pictures.read_picture, value, service.limits.bytes, service.limits.seconds)
        try:
            response = await service.detect(DetectionRequest(data, value))
        except RefusedError as error:
            if error.status != 422:
                raise
            # A damaged picture stays damaged. Without a result for it, the others of the request would have none.
            return {"result": [], "score": 0.0, "model_version": version, "error": f"Task {task.id}: {error}"}
    return {"result": regions(response, control), "score": least_score(response), "model_version": version}


def regions(response: DetectionResponse, control: RectangleControl) -> list[dict[str, Any]]:
    """The boxes of a picture as regions of Label Studio."""
    width, height = response.size
    found = []
    for number, box in enumerate(response.boxes["boxes"]):
        left, right = (min(max(box[side], 0.0), width) / width * 100 for side in ("xmin", "xmax"))
        top, bottom = (min(max(box[side], 0.0), height) / height * 100 for side in ("ymin", "ymax"))
        found.append(
            {
                "id": f"box{number}",
                "from_name": control.from_name,
                "to_name": control.to_name,
                "type": "rectanglelabels",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "score": box["score"],
                "value": {
                    "x": left,
                    "y": top,
                    "width": right - left,
                    "height": bottom - top,
                    "rotation": 0,
                    "rectanglelabels": [control.labels[box["class"]]],
                },
            }
        )
    return found


def least_score(response: DetectionResponse) -> float:
    """The score of the least certain box, by which Label Studio sorts tasks; 0 if there is no box."""
    return min((box["score"] for box in response.boxes["boxes"]), default=0.0)

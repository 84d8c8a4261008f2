"""An event: what receivers get. docs/event.schema.json is made from the class."""

import json
import secrets
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

EVENT_VERSION: Literal[1] = 1
"""Goes up when a field changes its meaning or goes away. New fields may come without it."""

_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Event:
    """Somebody stayed, or crossed a line, as a rule says.

    Attributes:
        event_version: The version of this format.
        event_id: A random id of 32 hex digits. A repeated delivery has the same one.
        time: When it happened, ISO 8601 in UTC.
        rule: The rule's name.
        kind: `stay` or `crossing`.
        camera: The camera's name.
        class_name: The class of the face, by the vote of its track.
        score: The score of the face in the frame of the event, from 0 to 1.
        track: The number of the face at this camera since the program started, from 1.
        seconds: How long it had stayed; 0 for a crossing.
        zone: The zone's name, or null.
        line: The line's name, or null.
        direction: `in` or `out` for a crossing, or null.
        box: The face in the frame as left, top, right, bottom, in shares of its width and height.
        people: The number of people in the frame by class.
        snapshot: The path of the picture with blurred faces, or null.
    """

    event_version: Literal[1]
    event_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    rule: str
    kind: Literal["stay", "crossing"]
    camera: str
    class_name: str
    score: _Share
    track: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(ge=0)]
    zone: str | None
    line: str | None
    direction: Literal["in", "out"] | None
    box: tuple[_Share, _Share, _Share, _Share]
    people: dict[str, Annotated[int, Field(ge=0)]]
    snapshot: str | None = None

    def to_json(self) -> str:
        """The event as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


def new_event_id() -> str:
    """A random id of 32 hex digits."""
    return secrets.token_hex(16)


def utc_text(at: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_schema() -> dict[str, Any]:
    """The JSON Schema of an event."""
    schema = TypeAdapter(Event).json_schema()
    schema["description"] = "An event of `make watch`. Ignore fields that you do not know."
    schema["required"] = sorted(schema["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

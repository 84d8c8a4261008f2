"""`make watch CHECK=1`: check the configuration, open each source, and draw the zones into a frame of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.files import replacing_file
from facemask.media.footage import Footage
from facemask.media.prefetch import never
from facemask.media.writing import naming_errors
from facemask.watch.camera_scene import DEAD_BAND
from facemask.watch.watch_config import Camera, WatchConfig

_COARSE = 96
"""The longer side in pixels that a frame is reduced to before the zones are drawn: nobody can be recognised."""

_SMALL_PART = 0.05
"""The share of a zone or a line up to which nobody is told that it is not seen."""


def check_cameras(config: WatchConfig, footage: Mapping[str, Footage], folder: Path) -> list[str]:
    """Take a frame of each camera, and draw its zones, lines and region on it.

    Args:
        config: The configuration.
        footage: The cameras' sources by their names.
        folder: Where the pictures go, as `<camera>.png`.

    Returns:
        A line for each camera, and those of `unseen_parts`.

    Raises:
        UserError: A camera gives no picture; the others are tried too. Or a picture cannot be written.
    """
    lines, failures = [], []
    for camera in config.cameras:
        try:
            frames = footage[camera.name].frames(never, lambda words: None)
            try:
                frame = next(iter(frames), None)
            finally:
                frames.close()  # type: ignore[attr-defined]
            if frame is None:
                raise UserError(f"{footage[camera.name].title}: gives no picture.")
        except UserError as error:
            failures.append(f"{camera.name}: {error}")
            continue
        path = folder / f"{camera.name}.png"
        with naming_errors(path), replacing_file(path) as beside:
            Image.fromarray(draw_zones(frame.image, camera)).save(beside, "PNG")
        height, width = frame.image.shape[:2]
        lines.append(f"{camera.name}: {footage[camera.name].title}, {width}x{height}; its zones are drawn in {path}")
        lines += unseen_parts(camera)
    if failures:
        raise UserError("\n  ".join([*lines, *failures] if len(failures) == 1 else ["", *lines, *failures]))
    return lines


def unseen_parts(camera: Camera) -> Iterator[str]:
    """A line for people for each zone and line of a camera that the camera's region does not cover."""
    left, top, right, bottom = camera.region
    for zone in camera.zones:
        mask = np.zeros((1001, 1001), np.uint8)
        cv2.fillPoly(mask, [(np.array(zone.polygon) * 1000).round().astype(np.int32)], 1)
        rows, columns = (slice(round(1000 * a), round(1000 * b) + 1) for a, b in ((top, bottom), (left, right)))
        share = 1 - float(mask[rows, columns].sum()) / float(mask.sum())
        if share > _SMALL_PART:
            yield f"{camera.name}: {_part(share)} the zone {zone.name} is outside the region: nobody is seen there"
    for line in camera.lines:
        start, end = np.array(line.points)
        along = (end - start) / np.hypot(*(end - start))
        # Both of its sides have to be seen, further away than the dead band.
        aside = 2 * DEAD_BAND * np.array([-along[1], along[0]])
        points = start + np.linspace(0, 1, 201)[:, None] * (end - start)
        sides = np.stack([points - aside, points + aside])
        seen = ((sides >= (left, top)) & (sides <= (right, bottom))).all(axis=(0, 2))
        share = 1 - float(seen.mean())
        if share > _SMALL_PART:
            place = "outside the region or at its edge"
            yield f"{camera.name}: {_part(share)} the line {line.name} is {place}: nobody is seen to cross it there"


def _part(share: float) -> str:
    return f"{100 * share:.0f} % of" if share < 0.995 else "all of"


def draw_zones(image: np.ndarray, camera: Camera) -> np.ndarray:
    """Draw a camera's region, zones and lines, with their names, on a coarse copy of a frame.

    Args:
        image: RGB uint8 of shape (height, width, 3); not changed.
        camera: Its configuration.

    Returns:
        The drawn frame, of the same shape.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _COARSE / max(width, height))
    small = cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    drawn = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    size = np.array([width, height])
    thick, font = max(2, width // 400), max(0.4, width / 1600)
    names: list[tuple[str, np.ndarray]] = []
    if camera.region != (0.0, 0.0, 1.0, 1.0):
        left, top, right, bottom = (np.array(camera.region) * np.tile(size, 2)).round().astype(int).tolist()
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), (255, 255, 0), thick)
        names.append(("region", np.array([(left + right) / 2, top + 25 * font])))
    for i, zone in enumerate(camera.zones):
        colour = sv.ColorPalette.DEFAULT.by_idx(i)
        points = (np.array(zone.polygon) * size).round().astype(int)
        drawn = sv.draw_filled_polygon(drawn, points, colour, opacity=0.25)
        drawn = sv.draw_polygon(drawn, points, colour, thickness=thick)
        names.append((zone.name, points.mean(axis=0)))
    for line in camera.lines:
        start, end = (np.array(line.points) * size).round().astype(int)
        cv2.line(drawn, start.tolist(), end.tolist(), (255, 255, 255), thick, cv2.LINE_AA)
        along = (end - start) / max(1.0, float(np.linalg.norm(end - start)))
        middle, right_of_it = (start + end) / 2, np.array([-along[1], along[0]])
        into = middle + right_of_it * 0.06 * width  # to the right of the line: in
        cv2.arrowedLine(
            drawn, middle.astype(int).tolist(), into.astype(int).tolist(), (255, 255, 255), thick, tipLength=0.3
        )
        (text_width, text_height), _ = cv2.getTextSize(f"{line.name}: in", cv2.FONT_HERSHEY_SIMPLEX, font, 1)
        names.append((f"{line.name}: in", into + right_of_it * (np.array([text_width, text_height]) / 2 + 10 * font)))
    for name, centre in names:  # last, so that nothing is drawn over them
        _write_name(drawn, name, centre, font)
    return np.asarray(drawn)


def _write_name(image: np.ndarray, name: str, centre: np.ndarray, font: float) -> None:
    (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, font, 1)
    place = (
        int(np.clip(centre[0] - width / 2, 0, max(0, image.shape[1] - width))),
        int(np.clip(centre[1] + height / 2, height, image.shape[0] - 1)),
    )
    cv2.putText(image, name, place, cv2.FONT_HERSHEY_SIMPLEX, font, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.putText(image, name, place, cv2.FONT_HERSHEY_SIMPLEX, font, (255, 255, 255), 1, cv2.LINE_AA)

"""Draw the sample data set: pictures of people with and without masks, labelled as a person would in labelImg.

It serves to try the pipeline without photographs. A detector trained on it recognises drawings, not people.
"""

import io
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from facemask.core import worker_processes
from facemask.core.errors import UserError
from facemask.core.files import replacing_folder, write_json
from facemask.core.provenance import made_by
from facemask.data import voc
from facemask.data.drawing import people, portrait, scenery
from facemask.data.drawing.pen import Pen

CLASSES = people.CLASSES
WIDTH, HEIGHT = 320, 240
MAX_IMAGES = 100_000

_ZOOM = 2
"""Everything is drawn at twice the size and halved, which smooths its edges."""

_FACES = {1: 3, 2: 3, 3: 3, 4: 3, 5: 2, 6: 2}
"""Number of faces in a picture, and the relative frequency of that number."""

_HALF_HEADS = {1: (40, 60), 2: (36, 58), 3: (32, 52), 4: (30, 46), 5: (29, 40), 6: (28, 36)}
"""Smallest and largest half head, in pixels, by the number of people. A box is about 1.85 times as high."""

_NAME = "sample.json"
_DRAWN = re.compile(r"sample_\d{3,}\.(jpg|xml)")


@dataclass(frozen=True)
class Picture:
    """A drawn picture, (HEIGHT, WIDTH, 3) RGB uint8, and its labelled faces in whole pixels."""

    image: np.ndarray
    boxes: tuple[voc.Box, ...]


@dataclass(frozen=True)
class Sample:
    """The written sample: its folder, the number of pictures, and the number of faces of each class."""

    folder: Path
    images: int
    faces: dict[str, int]


def draw_picture(seed: int, index: int) -> Picture:
    """Draw picture `index` of the sample with the given seed. The result does not depend on other pictures."""
    rng = random.Random(f"{seed}/{index}")
    canvas = Image.new("RGB", (WIDTH * _ZOOM, HEIGHT * _ZOOM))
    pen = Pen(canvas, scale=_ZOOM)
    scenery.draw_backdrop(pen, rng, WIDTH, HEIGHT)
    if rng.random() < 0.5:
        canvas.paste(canvas.filter(ImageFilter.BoxBlur(rng.uniform(0.5, 3) * _ZOOM)))
    crowd = _crowd(rng)
    for person in crowd:
        portrait.draw_portrait(canvas, person, _ZOOM)
    _obstacles(pen, rng, crowd)
    small = canvas.reduce(_ZOOM)
    return Picture(_photographed(small, rng, np.random.default_rng([seed, index])), tuple(map(_label, crowd)))


def write_sample(
    folder: Path,
    images: int,
    seed: int,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sample:
    """Draw pictures and labels into a folder: `sample_000.jpg`, `sample_000.xml`, ..., and `sample.json`.

    An existing sample is replaced as a whole. With the same libraries and the same name of the folder (which the XML
    holds), pictures and XML have the same bytes each time.

    Args:
        folder: The folder of the sample; it is made if it does not exist.
        images: Number of pictures.
        seed: 0 or more; another seed draws another sample.
        processes: Number of processes; 0 for one a core. The result does not depend on it.
        progress: Called with the number of pictures done and their total.

    Raises:
        UserError: The folder holds files that are not a sample, or cannot be written, or a number is out of range.
    """
    if not 1 <= images <= MAX_IMAGES:
        raise UserError(f"{images} images: draw 1 to {MAX_IMAGES:,}.")
    if seed < 0:
        raise UserError(f"seed {seed}: use 0 or more.")
    _refuse_to_overwrite(folder)
    faces: Counter[str] = Counter(dict.fromkeys(CLASSES, 0))
    try:
        with replacing_folder(folder) as beside:
            drawn = worker_processes.ordered_results(partial(_jpeg, seed), range(images), processes)
            for index, (jpeg, boxes) in enumerate(drawn):
                name = f"sample_{index:03d}"
                (beside / f"{name}.jpg").write_bytes(jpeg)
                annotation = voc.Annotation(folder.absolute() / f"{name}.xml", f"{name}.jpg", WIDTH, HEIGHT, boxes)
                voc.write_voc(beside / f"{name}.xml", annotation)
                faces.update(box.label for box in boxes)
                progress(index + 1, images)
            made = made_by("sample", images=images, seed=seed)
            write_json(beside / _NAME, {"format": 1, "images": images, "faces": dict(faces), "made": made})
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}). Choose another folder.") from None
    return Sample(folder, images, dict(faces))


def _jpeg(seed: int, index: int) -> tuple[bytes, tuple[voc.Box, ...]]:
    picture, file = draw_picture(seed, index), io.BytesIO()
    Image.fromarray(picture.image).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue(), picture.boxes


def _refuse_to_overwrite(folder: Path) -> None:
    """Raise a UserError if the folder holds anything that `write_sample` did not make."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder}: not a folder. Choose another place for the sample.")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if names and _NAME not in names:
        raise UserError(f"{folder}: holds files that are not a sample (no {_NAME}). Choose another folder or empty it.")
    foreign = [name for name in names if name != _NAME and not _DRAWN.fullmatch(name)]
    if foreign:
        raise UserError(f"{folder / foreign[0]}: not part of the sample in this folder. Move it elsewhere first.")


def _crowd(rng: random.Random) -> list[people.Person]:
    """Choose people whose faces hardly overlap, ordered from back to front."""
    wanted = rng.choices(list(_FACES), list(_FACES.values()))[0]
    light = rng.choice((-1.0, 1.0))
    crowd: list[people.Person] = []
    for _ in range(60 * wanted):
        size = rng.uniform(*_HALF_HEADS[wanted])
        # The picture's side cuts some faces, by at most a quarter of the face.
        margin = size * (0.4 if rng.random() < 0.08 else 1.0)
        x, y = rng.uniform(margin, WIDTH - margin), rng.uniform(size * 0.95, HEIGHT - size * 1.25)
        if all(_apart(x, y, size, other) for other in crowd):
            crowd.append(people.some_person(rng, rng.choice(CLASSES), x, y, size, light))
        if len(crowd) == wanted:
            break
    # A body begins at the chin. Drawn in the order of their chins, nobody's body hides another's face.
    return sorted(crowd, key=lambda person: person.y + person.size)


def _apart(x: float, y: float, size: float, other: people.Person) -> bool:
    """Whether two heads, with their hats and scarves, leave each other's face free."""
    return abs(x - other.x) > 0.98 * (size + other.size) or abs(y - other.y) > 1.22 * (size + other.size)


def _label(person: people.Person) -> voc.Box:
    whole = [round(edge) for edge in person.box()]
    xmin, ymin, xmax, ymax = max(0, whole[0]), max(0, whole[1]), min(WIDTH, whole[2]), min(HEIGHT, whole[3])
    return voc.Box(person.label, xmin, ymin, xmax, ymax, truncated=[xmin, ymin, xmax, ymax] != whole)


def _obstacles(pen: Pen, rng: random.Random, crowd: list[people.Person]) -> None:
    """Hide a part of some faces: at most 30% of a face, and hardly any of what tells the classes apart."""
    for person in crowd:
        if rng.random() > 0.25:
            continue
        obstacle = scenery.some_obstacle(rng, person.box())
        hidden = Image.new("L", (WIDTH, HEIGHT))
        for shape in obstacle.shapes:
            ImageDraw.Draw(hidden).polygon(shape.ravel().tolist(), fill=255)
        cover = np.asarray(hidden, float) / 255
        if all(_visible(cover, each) for each in crowd):
            scenery.draw_obstacle(pen, obstacle)


def _visible(cover: np.ndarray, person: people.Person) -> bool:
    xmin, ymin, xmax, ymax = (max(0, round(edge)) for edge in person.box())
    quarter = (xmax - xmin) // 4
    face, middle = cover[ymin:ymax, xmin:xmax], cover[(ymin + ymax) // 2 : ymax, xmin + quarter : xmax - quarter]
    return bool(face.mean() <= 0.3 and middle.mean() <= 0.1)


def _photographed(image: Image.Image, rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """Make the picture look like a camera's: tinted light, exposure, a little blur, dark corners, noise."""
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    pixels = np.asarray(image, np.float32) / 255
    exposure = min(max(rng.uniform(0.38, 0.55) / float(pixels.mean()), 0.8), 1.2)
    pixels = (pixels * exposure) ** rng.uniform(0.8, 1.2)
    pixels *= np.array([rng.uniform(0.86, 1.08) for _ in range(3)], np.float32)
    pixels = (pixels - 0.5) * rng.uniform(0.78, 1.05) + 0.5 + rng.uniform(-0.03, 0.05)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    pixels *= (1 - rng.uniform(0, 0.22) * (x**2 + y**2) / 2)[..., None]
    pixels += noise.standard_normal(pixels.shape, np.float32) * rng.choice((0.004, 0.012, 0.02, 0.03))
    return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)

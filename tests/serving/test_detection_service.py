"""What a service answers, refuses and survives, without a server."""

import asyncio
import gc
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import squares
from PIL import Image
from squares import ABOUT, THRESHOLDS, Squares, encoded, picture

from facemask.core.errors import UserError
from facemask.data import images as dataset_images
from facemask.media import picture_inference
from facemask.media.picture_files import Picture
from facemask.serving import detection_service as services
from facemask.serving.detection_service import (
    AUTO,
    DetectionRequest,
    DetectionResponse,
    DetectionService,
    Limits,
    RefusedError,
    safe_name,
)


def make(**openers) -> DetectionService:
    return DetectionService({AUTO: Squares, **openers}, ABOUT, Limits(), THRESHOLDS)


def ask(service: DetectionService, question: DetectionRequest) -> DetectionResponse:
    async def look() -> DetectionResponse:
        with service.reserve_place():
            return await service.detect(question)

    return asyncio.run(look())


def test_the_answer_is_what_make_infer_writes(tmp_path: Path):
    """JSON and picture, byte for byte but for the picture's name."""
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(picture(1200, 700), "JPEG", quality=95))
    picture_inference.infer_pictures(
        Squares(), ABOUT, [Picture(file, Path("a.jpg"))], tmp_path / "out", [0.5, 0.5, 0.5]
    )
    written = json.loads((tmp_path / "out" / "a.json").read_text())
    written["image"]["file"] = "a.jpg"
    answer = ask(make(), DetectionRequest(file.read_bytes(), "a.jpg", draw=True))
    assert answer.boxes == written
    assert [box["class"] for box in answer.boxes["boxes"]] == ["with_mask", "without_mask"]
    assert answer.drawn == (tmp_path / "out" / "a.jpg").read_bytes()
    assert answer.counts == {"with_mask": 1, "without_mask": 1, "mask_weared_incorrect": 0}
    assert ask(make(), DetectionRequest(file, "a.jpg")).boxes == written  # from where it is


def test_the_threshold_says_what_counts():
    data = encoded(picture())
    for threshold, count in ((0.0, 3), (0.31, 2), (0.7, 1), (1.0, 0)):
        answer = ask(make(), DetectionRequest(data, threshold=threshold))
        assert len(answer.boxes["boxes"]) == sum(answer.counts.values()) == count
        assert set(answer.boxes["thresholds"].values()) == {threshold}


def test_without_a_threshold_the_one_of_each_class_holds():
    service = DetectionService({AUTO: Squares}, ABOUT, Limits(), (0.95, 0.5, 0.2))
    response = ask(service, DetectionRequest(encoded(picture())))
    assert response.counts == {"with_mask": 0, "without_mask": 1, "mask_weared_incorrect": 1}
    assert response.boxes["thresholds"] == {"with_mask": 0.95, "without_mask": 0.5, "mask_weared_incorrect": 0.2}


def test_pictures_are_seen_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(np.rot90(picture(300, 100)), "JPEG", exif=exif, quality=95)
    answer = ask(make(), DetectionRequest(data))
    assert answer.size == (300, 100)
    box = answer.boxes["boxes"][0]
    assert [box[side] for side in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx([10, 10, 30, 30], abs=2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        encoded(picture())[:-200],
        Path("nowhere.jpg"),
        Path("/dev/zero"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes | Path):
    with pytest.raises(RefusedError, match=r"face\.jpg: ") as refused:
        ask(make(), DetectionRequest(data, "face.jpg"))
    assert refused.value.status == 422


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch):
    data = encoded(np.zeros((7200, 7000, 3), np.uint8))
    assert len(data) < 200_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(RefusedError, match="7000 x 7200"):
        ask(make(), DetectionRequest(data))
    assert services.MAX_PIXELS < dataset_images.MAX_PIXELS


def test_nothing_of_a_refused_picture_stays_in_memory():
    """Without the help of the garbage collector, which comes late: some hundred MB of frames were kept once."""
    service = make()
    cut = encoded(np.zeros((3000, 3000, 3), np.uint8))[:-100]
    broken = encoded(picture(squares.BREAKS, 3000))

    def alive() -> int:
        return sum(isinstance(one, (Image.Image, DetectionRequest)) for one in gc.get_objects())

    async def run() -> None:
        for data, error in ((cut, RefusedError), (broken, RuntimeError)):
            with pytest.raises(error):
                await service.detect(DetectionRequest(data))

    asyncio.run(run())
    gc.collect()
    gc.disable()
    try:
        before = alive()
        asyncio.run(run())
        # The thread that looked at the picture may still be on its way out of the function that failed.
        until = time.monotonic() + 10
        while alive() != before and time.monotonic() < until:
            time.sleep(0.05)
        assert alive() == before
    finally:
        gc.enable()


def test_too_long_a_side_is_refused():
    with pytest.raises(RefusedError, match="40000"):
        ask(make(), DetectionRequest(encoded(np.zeros((1, 40000, 3), np.uint8))))


@pytest.mark.parametrize(("changed", "said"), [({"threshold": 1.5}, "0 to 1"), ({"runtime": "tpu"}, "one of auto, x")])
def test_wrong_questions(changed: dict, said: str):
    with pytest.raises(RefusedError, match=said) as refused:
        ask(make(x=Squares), DetectionRequest(encoded(picture()), **changed))
    assert refused.value.status == 400


def test_a_runtime_is_loaded_once_when_it_is_asked_for():
    opened = []

    def open_other() -> Squares:
        opened.append(threading.get_ident())
        return Squares()

    service = make(other=open_other)
    assert opened == []

    async def all_at_once() -> None:
        question = DetectionRequest(encoded(picture()), runtime="other")
        await asyncio.gather(*(service.detect(question) for _ in range(6)))

    asyncio.run(all_at_once())
    assert len(opened) == 1
    assert opened != [threading.get_ident()]  # not where it would hold up the others


def test_a_runtime_that_cannot_be_loaded_says_so_and_the_others_go_on():
    def missing() -> Squares:
        raise UserError("it is not installed")

    service = make(missing=missing)
    for _ in range(2):
        with pytest.raises(UserError):
            ask(service, DetectionRequest(encoded(picture()), runtime="missing"))
    assert ask(service, DetectionRequest(encoded(picture()))).counts["with_mask"] == 1


def test_only_so_many_have_a_place():
    service = DetectionService({AUTO: Squares}, ABOUT, Limits(workers=1, waiting=1), THRESHOLDS)
    with service.reserve_place(), service.reserve_place():
        with pytest.raises(RefusedError) as refused, service.reserve_place():
            pass
        assert refused.value.status == 503
    with service.reserve_place():
        assert service.inside == 1


def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends():
    go_on, started = threading.Event(), threading.Event()

    class Stuck(Squares):
        def _detect(self, image):
            started.set()
            assert go_on.wait(60)
            return super()._detect(image)

    service = DetectionService({AUTO: Stuck}, ABOUT, Limits(seconds=0.2, workers=1, waiting=1), THRESHOLDS)
    question = DetectionRequest(encoded(picture()))

    async def run() -> None:
        with pytest.raises(RefusedError) as refused, service.reserve_place():
            await service.detect(question)
        assert refused.value.status == 504
        assert started.is_set()
        assert service.inside == 1  # the thread is still at it
        # What only waited for the thread is taken back, and leaves nothing behind.
        with pytest.raises(RefusedError), service.reserve_place():
            await service.detect(question)
        assert service.inside == 1
        go_on.set()
        while service.inside:
            await asyncio.sleep(0.01)
        with service.reserve_place():
            assert (await service.detect(question)).counts["with_mask"] == 1

    asyncio.run(asyncio.wait_for(run(), 60))


def test_an_error_in_the_detector_is_passed_on_and_gives_its_place_back():
    service = make()
    with pytest.raises(RuntimeError):
        ask(service, DetectionRequest(encoded(picture(squares.BREAKS))))
    assert service.inside == 0
    assert ask(service, DetectionRequest(encoded(picture()))).counts["with_mask"] == 1


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("face.jpg", "face.jpg"),
        ("größe マスク (1).PNG", "größe マスク (1).PNG"),
        ("../../etc/passwd", "passwd.jpg"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("..", "picture.jpg"),
        ("", "picture.jpg"),
        (".bashrc", "bashrc.jpg"),
        ("a\0b\n<script>.png", "a_b__script_.png"),
        ("/", "picture.jpg"),
    ],
)
def test_names_are_made_safe(name: str, safe: str, tmp_path: Path):
    assert safe_name(name) == safe
    (tmp_path / safe).touch()
    assert [path.name for path in tmp_path.iterdir()] == [safe]


def test_long_names_are_cut():
    assert len(safe_name("x" * 5000 + "." + "y" * 5000)) <= 80

"""The folder that `make page` writes, and the page in it in a real browser."""

import contextlib
import functools
import gzip
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from browser import CHROMIUM, Browser
from made_networks import write_classifier
from squares import CLASSES, encoded

import facemask
from facemask.cli import page_command
from facemask.core.errors import UserError
from facemask.data.drawn_sample import draw_picture
from facemask.serving import page_build
from facemask.serving.page_files import FOLDER

SIDES = ("xmin", "ymin", "xmax", "ymax")

ABOUT = {"run": "some", "model": "a model", "steps": 7}

SSD = {
    "kind": "ssd",
    "network": "network.onnx",
    "width": 640,
    "height": 448,
    "suppression": {"iou": 0.6, "leastScore": 0.01, "mostPerClass": 100, "most": 100, "background": True},
}


def write_network(folder: Path) -> dict[str, object]:
    (folder / "network.onnx").write_bytes(b"a network")
    return SSD


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What npm would have installed."""
    package = tmp_path / "onnxruntime-web"
    (package / "dist").mkdir(parents=True)
    for name in page_build.RUNTIME:
        (package / "dist" / name).write_bytes(name.encode())
    monkeypatch.setattr(page_build, "install_runtime", lambda folder: package)
    return package


def test_a_folder_with_all_that_the_page_loads(runtime: Path, tmp_path: Path):
    out = tmp_path / "page"
    for _ in range(2):  # a page is replaced
        size = page_build.build_page(ABOUT, CLASSES, [0.5, 0.25, 0.125], write_network, out)
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("index.html", "page.css", "page.js", "engines.js", "resampling.js", "suppression.js", "two_stage.js"),
        *("page.json", "network.onnx", "_headers"),
        *page_build.RUNTIME,
    }
    assert size == sum(len(gzip.compress(path.read_bytes(), 6)) for path in out.iterdir())
    settings = json.loads((out / "page.json").read_text())
    assert settings["engine"] == "browser" and settings["model"] == ABOUT
    assert settings["detector"] == SSD and settings["sameFace"] == 0.5
    assert [one["threshold"] for one in settings["classes"]] == [0.5, 0.25, 0.125]
    # Each file that one of them names is there, and none is anywhere else.
    for name in ("index.html", "page.js", "engines.js", "two_stage.js"):
        text = (out / name).read_text()
        assert "://" not in text
        loaded = re.findall(r'(?:src|href)="([\w.-]+)"|"\./([\w.-]+)"|here\("([\w.-]+)"\)', text)
        assert loaded and {one for group in loaded for one in group if one} <= names


def test_what_is_no_page_is_left_alone(runtime: Path, tmp_path: Path):
    out = tmp_path / "photographs"
    out.mkdir()
    (out / "a.jpg").touch()
    with pytest.raises(UserError, match=f"OUT={out}"):
        page_build.build_page(ABOUT, CLASSES, [0.5] * 3, write_network, out)
    assert [path.name for path in out.iterdir()] == ["a.jpg"]


def test_too_large_a_page_is_not_written(runtime: Path, tmp_path: Path):
    def write_large(folder: Path) -> dict[str, object]:
        (folder / "network.onnx").write_bytes(os.urandom(page_build.MOST_BYTES))
        return SSD

    with pytest.raises(UserError, match=r"RUN=some: .*15 MB"):
        page_build.build_page(ABOUT, CLASSES, [0.5] * 3, write_large, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_npm_is_missing_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="Node"):
        page_build.install_runtime(tmp_path)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code EINTEGRITY' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match="EINTEGRITY"):
        page_build.install_runtime(tmp_path)


def test_the_lock_has_digests_and_no_addresses():
    packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    assert "node_modules/onnxruntime-web" in packages
    for name, package in packages.items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")
    assert "://" not in (FOLDER / "package-lock.json").read_text()


class Isolated(http.server.SimpleHTTPRequestHandler):
    """A web host that sends the headers of `_headers`."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def hosting(folder: Path) -> Iterator[str]:
    """A web host on this machine with a folder's files; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Isolated, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def opened_page(page: Path, frame: np.ndarray) -> Iterator[Browser]:
    """A page in a browser whose camera sees a picture. It may not complain or ask for anything of another host."""
    camera = page.with_name("camera.mjpeg")
    camera.write_bytes(encoded(frame, "JPEG", quality=95) * 10)
    with (
        hosting(page) as url,
        Browser(page.with_name("profile"), f"--use-file-for-fake-video-capture={camera}") as browser,
    ):
        browser.open(url)
        browser.until("document.body?.dataset.ready || document.querySelector('#said.error')", seconds=120)
        assert browser.run("document.body.dataset.ready"), browser.run("document.querySelector('#said').innerText")
        assert browser.run("crossOriginIsolated")
        yield browser
        assert browser.complaints == []
        assert [one for one in browser.requests if not one.startswith((url, "data:", "blob:"))] == []


def result_of(browser: Browser, name: str) -> dict[str, Any]:
    """The result for the picture or camera of this name, once the page shows it."""
    shown = "document.querySelector('#boxes').textContent"
    browser.until(f"{shown} && JSON.parse({shown}).image.file == {json.dumps(name)}")
    return dict(json.loads(browser.run(shown)))


def write_brightness_network(folder: Path) -> dict[str, object]:
    """A network with three boxes, of which the first has the brightness of the picture's brightest pixel as score."""
    from onnx import TensorProto, helper, numpy_helper

    boxes = np.array([[[0.1, 0.2, 0.5, 0.6], [0.1, 0.2, 0.5, 0.65], [0.5, 0.5, 1, 1]]], np.float32)
    scores = np.zeros((1, 3, 4), np.float32)
    scores[0, :, 1:] = np.array([[1, 0, 0], [0, 0.4, 0], [0, 0, 0.9]]) / 255
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["input"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["scores", "brightest"], ["raw_detection_scores"]),
            helper.make_node("Identity", ["boxes"], ["raw_detection_boxes"]),
        ],
        "brightness",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 448, 640, 3))],
        [
            helper.make_tensor_value_info("raw_detection_boxes", TensorProto.FLOAT, boxes.shape),
            helper.make_tensor_value_info("raw_detection_scores", TensorProto.FLOAT, scores.shape),
        ],
        [numpy_helper.from_array(boxes, "boxes"), numpy_helper.from_array(scores, "scores")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "network.onnx").write_bytes(made.SerializeToString())
    return SSD


needs_a_browser = pytest.mark.skipif(
    CHROMIUM is None or shutil.which("npm") is None, reason="needs Chromium and npm (apt-get install chromium npm)"
)


@needs_a_browser
def test_a_picture_and_a_camera_in_the_browser(tmp_path: Path):
    """The page with the real onnxruntime-web, around a network whose answers are known."""
    pytest.importorskip("onnx", reason="needs the dependency group onnx")
    page_build.build_page(ABOUT, CLASSES, [0.5, 0.3, 0.8], write_brightness_network, tmp_path / "page")
    (tmp_path / "grey.png").write_bytes(encoded(np.full((150, 200, 3), 204, np.uint8)))
    with opened_page(tmp_path / "page", np.full((480, 640, 3), 255, np.uint8)) as browser:
        browser.choose_file("#file", tmp_path / "grey.png")
        found = result_of(browser, "grey.png")
        # 0.8 of class 1, and over it 0.32 of class 2, which is the same face; 0.72 of class 3 is too little.
        [box] = found["boxes"]
        assert (box["class"], box["class_id"], box["score"]) == ("with_mask", 1, 0.8)
        assert [box[side] for side in SIDES] == [40, 15, 120, 75]
        assert found["thresholds"] == {"with_mask": 0.5, "without_mask": 0.3, "mask_weared_incorrect": 0.8}
        # The slider sets one threshold for all classes.
        browser.run("document.querySelector('#threshold').value = 0.7")
        browser.run("document.querySelector('#threshold').dispatchEvent(new Event('input'))")
        browser.until("document.querySelector('#said').innerText.startsWith('2 faces.')")
        assert [one["score"] for one in result_of(browser, "grey.png")["boxes"]] == [0.8, 0.72]
        browser.run("document.querySelector('#camera').click()")
        found = result_of(browser, "camera.jpg")
        assert [round(one["score"], 1) for one in found["boxes"]] == [1, 0.9]
        assert found["image"] == {"file": "camera.jpg", "width": 640, "height": 480}


def assert_same_boxes(found: list[dict[str, Any]], expected: sv.Detections) -> None:
    """The same boxes to a pixel, in any order. Pixels that scaling rounds in another way change the scores a little."""
    assert len(found) == len(expected) >= 3
    for box, score, class_id in zip(expected.xyxy, expected.confidence, expected.class_id, strict=True):
        [same] = [one for one in found if np.allclose([one[side] for side in SIDES], box, atol=1)]
        assert same["class_id"] == class_id
        assert same["score"] == pytest.approx(float(score), abs=0.005)


@pytest.mark.long
@needs_a_browser
def test_it_finds_in_the_browser_what_python_finds(tmp_path: Path):
    """The page of `make page` where nothing was exported; the camera sees drawn people."""
    pytest.importorskip("onnx", reason="needs the dependency group onnx")
    page_command.main(run="", threshold="", exported=tmp_path / "none", out=tmp_path / "page")
    people = draw_picture(seed=0, index=0).image
    scenes = {"people.png": people, "large.png": cv2.resize(people, (2000, 1500))}
    detector = facemask.load("ready-fast")
    with opened_page(tmp_path / "page", people) as browser:
        for name, image in scenes.items():
            (tmp_path / name).write_bytes(encoded(image))
            browser.choose_file("#file", tmp_path / name)
            [expected] = detector.detect([image])
            assert_same_boxes(result_of(browser, name)["boxes"], detector.above_thresholds(expected))
        browser.run("document.querySelector('#camera').click()")
        [expected] = detector.detect([people])
        expected = detector.above_thresholds(expected)
        seen = result_of(browser, "camera.jpg")["boxes"]  # JPEG, and in the browser's colours
        assert abs(len(seen) - len(expected)) <= 2
        assert seen[0]["score"] == pytest.approx(float(expected.confidence[0]), abs=0.1)


def test_two_stages_with_a_classifier_of_ones_own(runtime: Path, tmp_path: Path):
    pytest.importorskip("onnx", reason="needs the dependency group onnx")
    write_classifier(tmp_path / "exported" / "mine")
    page_command.main(
        detector="two_stage", classifier="mine", faces_size=480, exported=tmp_path / "exported", out=tmp_path / "page"
    )
    text = (tmp_path / "page" / "page.json").read_text()
    settings = json.loads(text)
    assert settings["detector"]["faces"]["sizes"] == [480, 160] and settings["detector"]["faces"]["alignment"] is None
    assert settings["detector"]["classifier"] == {"network": "classifier.onnx", "size": 32, "margin": 0.2}
    assert settings["model"]["run"] == "two_stage-yunet-mine"
    assert str(tmp_path) not in text  # the page goes to other machines
    assert {"faces.onnx", "classifier.onnx"} <= {path.name for path in (tmp_path / "page").iterdir()}


def test_what_the_page_does_not_run_is_said(tmp_path: Path):
    for options, match in {
        ("ready-ssd", ""): "RUN=ready-ssd: .* RUN=ready-fast",
        ("ready", ""): r"^ready: .* classifier\. Take RUN=ready-fast\.$",
        ("ready", "rescored"): "DETECTOR=rescored",
        ("nothing", ""): "nothing: no exported model",
    }.items():
        run, detector = options
        with pytest.raises(UserError, match=match):
            page_command.main(run=run, detector=detector, exported=tmp_path / "none", out=tmp_path / "page")
    assert not (tmp_path / "page").exists()

"""The answers to what Label Studio asks. The requests have the shape of its `ml/api_connector.py`."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import squares
from squares import ABOUT, THRESHOLDS, Squares, encoded, picture

pytest.importorskip("fastapi", reason="needs the dependency group serve")

from asgi_requests import Answer, ask
from fastapi import FastAPI

from facemask.core.errors import UserError
from facemask.serving import http_api, label_studio_backend, label_studio_pictures
from facemask.serving.detection_service import DetectionService, Limits, RefusedError
from facemask.serving.label_studio_pictures import LabelStudioPictures, check_address, open_pictures

LABEL_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="with_mask" background="green"/>
    <Label value="without_mask" background="red"/>
    <Label value="incorrect" predicted_values="mask_weared_incorrect, other"/>
  </RectangleLabels>
</View>"""

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"
ACCESS = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIn0.c2lnbmF0dXJl"


def question(*values: object, config: str = LABEL_CONFIG) -> dict[str, Any]:
    """What Label Studio posts to `/predict`."""
    tasks = [
        {
            "id": number,
            "data": {"image": value},
            "meta": {},
            "created_at": "2026-11-25T12:00:00.000000Z",
            "is_labeled": False,
            "overlap": 1,
            "inner_id": number,
            "total_annotations": 0,
            "file_upload": None,
            "project": 7,
            "annotations": [],
            "predictions": [],
        }
        for number, value in enumerate(values, 1)
    ]
    return {
        "tasks": tasks,
        "model_version": None,
        "project": "7.1764071000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": None},
    }


class LabelStudio(BaseHTTPRequestHandler):
    """What Label Studio does for who wants an upload."""

    asked: ClassVar[list[tuple[str, str]]]
    files: ClassVar[dict[str, bytes]]

    def do_GET(self) -> None:
        header = self.headers.get("Authorization", "")
        self.asked.append((self.path, header))
        if self.path == "/data/upload/7/moved.png":
            self.send_response(302)
            self.send_header("Location", "/data/upload/7/a.png")
            self.end_headers()
        elif header not in (f"Token {TOKEN}", f"Bearer {ACCESS}"):
            self._answer(401, b"{}")
        else:
            self._answer(200 if self.path in self.files else 404, self.files.get(self.path, b""))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, json.dumps(body)))
        known = self.path == "/api/token/refresh" and body == {"refresh": PERSONAL}
        self._answer(200 if known else 401, json.dumps({"access": ACCESS} if known else {"detail": "no"}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def label_studio() -> Iterator[type[LabelStudio]]:
    class Handler(LabelStudio):
        asked: ClassVar[list[tuple[str, str]]] = []
        files: ClassVar[dict[str, bytes]] = {
            "/data/upload/7/a.png": encoded(picture(classes=[1, 2])),
            "/data/upload/7/no.png": b"this is no picture",
            "/data/upload/7/large.png": bytes((1 << 20) + 1),
            "/data/local-files/?d=b.png": encoded(picture(classes=[2])),
        }
        url = ""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def make(pictures: LabelStudioPictures) -> FastAPI:
    service = DetectionService({"auto": Squares}, ABOUT, Limits(megabytes=1, seconds=5), THRESHOLDS)
    app = FastAPI()
    http_api.add_routes(app, service)
    label_studio_backend.add_routes(app, service, pictures)
    return app


def predict(pictures: LabelStudioPictures, *values: object, config: str = LABEL_CONFIG) -> Answer:
    return ask(make(pictures), "POST", "/predict", question(*values, config=config))


def test_it_connects_to_an_interface_with_our_labels():
    app = make(LabelStudioPictures())
    assert ask(app, path="/health").status == 200
    setup = {
        "project": "7.1764071000",
        "schema": LABEL_CONFIG,
        "hostname": "http://evil.example",
        "access_token": TOKEN,
        "model_version": None,
        "extra_params": {},
    }
    answer = ask(app, "POST", "/setup", setup)
    version = label_studio_backend.model_version(squares.ABOUT)
    assert (answer.status, answer.json()) == (200, {"model_version": version})
    assert version.startswith("squares-7-") and version != label_studio_backend.model_version(ABOUT | {"steps": 8})


@pytest.mark.parametrize("token", [TOKEN, PERSONAL])
def test_an_upload_is_fetched_with_the_token(label_studio: type[LabelStudio], token: str):
    pictures = LabelStudioPictures(label_studio.url, token)
    answer = predict(pictures, "/data/upload/7/a.png", f"{label_studio.url}/data/upload/7/no.png")
    body = answer.json()
    assert answer.status == 200, body
    first, second = body["results"]
    assert body["model_version"] == first["model_version"] == label_studio_backend.model_version(ABOUT)
    assert first["score"] == pytest.approx(0.6)
    assert [region["value"]["rectanglelabels"] for region in first["result"]] == [["with_mask"], ["without_mask"]]
    # A square from (10, 10) to (30, 30) in 200 x 150 pixels.
    region = first["result"][0]
    assert region.pop("id") and region.pop("score") == pytest.approx(0.9)
    assert region["value"].pop("rectanglelabels") == ["with_mask"]
    value = {"x": 5, "y": 20 / 3, "width": 10, "height": 40 / 3, "rotation": 0}
    assert region.pop("value") == pytest.approx(value)
    assert region == {
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 150,
        "image_rotation": 0,
    }
    # The damaged one has no boxes, and the other one has its.
    assert (second["result"], second["score"]) == ([], 0.0) and "Task 2: " in second["error"]
    header = f"Token {TOKEN}" if token == TOKEN else f"Bearer {ACCESS}"
    assert ("/data/upload/7/a.png", header) in label_studio.asked


def test_a_label_may_have_another_name():
    control = label_studio_backend.find_control(LABEL_CONFIG, squares.CLASSES.names)
    assert control.labels["mask_weared_incorrect"] == "incorrect"
    assert (control.from_name, control.to_name, control.key) == ("label", "image", "image")


def test_local_files_are_read_from_the_folder(label_studio: type[LabelStudio], tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a b.png").write_bytes(encoded(picture(classes=[1])))
    answer = predict(LabelStudioPictures(files=tmp_path), "/data/local-files/?d=in/a%20b.png").json()
    assert len(answer["results"][0]["result"]) == 1
    # Without a folder Label Studio gives them.
    answer = predict(LabelStudioPictures(label_studio.url, TOKEN), "/data/local-files/?d=b.png").json()
    assert len(answer["results"][0]["result"]) == 1


@pytest.mark.parametrize(
    "value",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1.evil.example/data/upload/7/a.png",
        "http://evil@{host}/data/upload/7/a.png",
        "{url}.evil.example/data/upload/7/a.png",
        "{url}@evil.example/data/upload/7/a.png",
        "//evil.example/data/upload/7/a.png",
        "https://[/data/upload/7/a.png",
        "file:///etc/passwd",
        "ftp://evil.example/a.png",
        "s3://bucket/a.png",
        "data:image/png;base64," + base64.b64encode(b"x").decode(),
        "/etc/passwd",
        "/api/projects",
        "/data/upload/../../api/projects",
        "/data/upload/%2e%2e/%2e%2e/api/projects",
        "/data/upload/%252e%252e/api/projects",
        "/data/upload/\\..\\api",
        "/data/upload/7/a.png\r\nHost: evil.example",
        "data/upload/7/a.png",
        "",
    ],
)
def test_no_other_address_is_asked(label_studio: type[LabelStudio], tmp_path: Path, value: str):
    value = value.format(url=label_studio.url, host=label_studio.url.removeprefix("http://"))
    for pictures in (LabelStudioPictures(label_studio.url, TOKEN, tmp_path), LabelStudioPictures()):
        answer = predict(pictures, value)
        assert answer.status == 422 and "not read" in answer.json()["error"]
    assert label_studio.asked == []


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "..%2fsecret.png", "link.png", "", "folder", "no.png"]
)
def test_no_file_outside_the_folder_is_read(tmp_path: Path, name: str):
    (tmp_path / "secret.png").write_bytes(encoded(picture()))
    (tmp_path / "root" / "folder").mkdir(parents=True)
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(RefusedError):
        LabelStudioPictures(files=tmp_path / "root").read_picture(f"/data/local-files/?d={name}", 1 << 20, 5)


@pytest.mark.parametrize(
    ("name", "status", "problem"),
    [("missing.png", 502, "answered 404"), ("moved.png", 502, "answered 302"), ("large.png", 413, "larger than 1 MB")],
)
def test_what_label_studio_does_not_give(label_studio: type[LabelStudio], name: str, status: int, problem: str):
    answer = predict(LabelStudioPictures(label_studio.url, TOKEN), f"/data/upload/7/{name}")
    assert (answer.status, problem in answer.json()["error"]) == (status, True)


def test_a_wrong_token_and_a_label_studio_that_is_down(label_studio: type[LabelStudio]):
    for token in ("wrong-" + TOKEN, "wrong." + PERSONAL.partition(".")[2]):
        answer = predict(LabelStudioPictures(label_studio.url, token), "/data/upload/7/a.png")
        assert (answer.status, "does not accept" in answer.json()["error"]) == (502, True)
        assert token not in answer.text
    answer = predict(LabelStudioPictures("http://127.0.0.1:9", TOKEN), "/data/upload/7/a.png")
    assert (answer.status, "cannot be reached" in answer.json()["error"]) == (502, True)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "<View>",
        "<View/>",
        LABEL_CONFIG.replace("without_mask", "nobody"),
        LABEL_CONFIG.replace('toName="image"', 'toName="text"'),
        LABEL_CONFIG.replace("$image", "http://evil.example/a.png"),
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + LABEL_CONFIG,
    ],
)
def test_an_interface_without_our_labels_is_refused(config: str):
    for path, body in (("/predict", question("/data/upload/7/a.png", config=config)), ("/setup", {"schema": config})):
        answer = ask(make(LabelStudioPictures()), "POST", path, body)
        assert answer.status == 422
        assert "labelling interface" in answer.json()["error"] or "label_config" in answer.json()["error"]


@pytest.mark.parametrize("body", [[], {}, {"tasks": 1, "label_config": LABEL_CONFIG}, b"\xff", question(7), question()])
def test_other_requests(body: object):
    answer = ask(make(LabelStudioPictures()), "POST", "/predict", body)
    if body == question():
        assert answer.json()["results"] == []
    else:
        assert answer.status in (400, 422) and answer.json()["error"]


@pytest.mark.parametrize("path", ["/predict", "/setup"])
def test_a_request_has_a_place_and_a_limit_before_it_is_read(path: str):
    service = DetectionService({"auto": Squares}, ABOUT, Limits(megabytes=5, workers=1, waiting=0), THRESHOLDS)
    app = FastAPI()
    http_api.add_routes(app, service)
    label_studio_backend.add_routes(app, service, LabelStudioPictures())
    body = {"schema": LABEL_CONFIG, **question()}
    assert ask(app, "POST", path, body).status == 200
    answer = ask(app, "POST", path, {**body, "more": "x" * (2 << 20)})
    assert (answer.status, answer.json()) == (413, {"error": "Too large: the limit is 2 MB."})
    with service.reserve_place():
        assert ask(app, "POST", path, b"not even JSON").status == 503
    assert service.inside == 0


def test_the_options_are_checked(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    assert open_pictures("http://localhost:8080/", token, tmp_path) == LabelStudioPictures(
        "http://localhost:8080", TOKEN, tmp_path
    )
    assert TOKEN not in repr(open_pictures("http://localhost:8080", token, None))
    for wrong in (("http://localhost:8080", None, None), ("", token, None), ("", None, tmp_path / "no")):
        with pytest.raises(UserError):
            label_studio_pictures.open_pictures(*wrong)
    for url in ("localhost:8080", "ftp://x", "http://", "http://a:b@c", "http://a?b", "http://a:99999", "http://["):
        with pytest.raises(UserError, match="LABEL_STUDIO="):
            check_address(url)

"""Label Studio itself asks our server for boxes. It is in an environment of its own, because its packages are not ours.

uv venv studio && uv pip install -p studio label-studio
FACEMASK_LABEL_STUDIO=studio/bin/label-studio make test-long TESTS=tests/serving/test_label_studio_itself.py
"""

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import server_processes
import squares

from facemask.data import drawn_sample, label_export, voc
from facemask.data.class_mapping import parse_class_mapping
from facemask.data.label_import import ImportOptions, import_labels

pytest.importorskip("fastapi", reason="needs the dependency group serve")
from facemask.serving import label_studio_backend

pytestmark = pytest.mark.long

TOKEN = "0123456789abcdef0123456789abcdef01234567"
OURS = "a-token-of-ours-that-is-long-enough"
START_SECONDS = 900
"""It migrates an empty database first, which takes half a minute on an idle machine."""


@dataclass(frozen=True)
class LabelStudio:
    """A Label Studio that runs, asked by a user's legacy token; and the folder of its local files."""

    url: str
    files: Path

    def ask(self, method: str, path: str, **given: Any) -> requests.Response:
        header = {"Authorization": f"Token {TOKEN}"}
        return requests.request(method, f"{self.url}{path}", headers=header, timeout=300, **given)

    def said(self, method: str, path: str, **given: Any) -> Any:
        answer = self.ask(method, path, **given)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    program = os.environ.get("FACEMASK_LABEL_STUDIO")
    if not program:
        pytest.skip("FACEMASK_LABEL_STUDIO does not name label-studio (pip install it into an environment of its own)")
    folder = tmp_path_factory.mktemp("label-studio")
    files = folder / "files"
    files.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # As docs/labels.md says: otherwise it refuses a model on this machine.
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": "10.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10",
    }
    options = {
        "--data-dir": str(folder / "data"),
        "--internal-host": "127.0.0.1",
        "--port": str(port),
        "--username": "a@example.org",
        "--password": "not-a-secret-1",
        "--user-token": TOKEN,
    }
    command = [program, "start", "--no-browser", *(part for pair in options.items() for part in pair)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        studio = LabelStudio(f"http://127.0.0.1:{port}", files)
        until = time.monotonic() + START_SECONDS
        while not _is_up(studio):
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()[-3000:]
            time.sleep(1)
        yield studio
    finally:
        process.terminate()
        process.wait(60)


def _is_up(studio: LabelStudio) -> bool:
    try:
        return requests.get(f"{studio.url}/health", timeout=30).ok
    except requests.RequestException:
        return False


@pytest.fixture
def project(label_studio: LabelStudio) -> int:
    """A project with the labelling interface that docs/labels.md shows."""
    return int(label_studio.said("POST", "/api/projects", json={"title": "masks", "label_config": interface()})["id"])


def interface() -> str:
    [found] = re.findall(r"```xml\n(.+?)```", (server_processes.ROOT / "docs" / "labels.md").read_text(), re.DOTALL)
    return str(found)


@pytest.mark.parametrize("personal", [False, True])
def test_label_studio_gets_boxes(
    label_studio: LabelStudio, project: int, personal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = {"file": ("a.png", squares.encoded(squares.picture(classes=[1, 2])))}
    label_studio.said("POST", f"/api/projects/{project}/import", files=file)
    token = tmp_path / "token"
    token.write_text(label_studio.said("POST", "/api/token/")["token"] if personal else TOKEN)
    monkeypatch.setenv("SQUARES_TOKEN", OURS)
    server = server_processes.start(
        tmp_path / "server", "--label-studio", label_studio.url, "--label-studio-token", str(token)
    )
    try:
        backend = {"project": project, "url": server.url, "title": "facemask", "auth_method": "BASIC_AUTH"}
        wrong = label_studio.ask("POST", "/api/ml", json=backend | {"basic_auth_user": "any", "basic_auth_pass": "no"})
        assert wrong.status_code == 400 and "401 Client Error" in wrong.text
        backend |= {"basic_auth_user": "any", "basic_auth_pass": OURS}
        connected = label_studio.said("POST", "/api/ml", json=backend)
        assert connected["readable_state"] == "Connected"
        everything = {"selectedItems": {"all": True, "excluded": []}}
        action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
        label_studio.said("POST", action, json=everything)
        [prediction] = label_studio.said("GET", f"/api/predictions?project={project}")
    finally:
        server_processes.stop(server)
    assert prediction["model_version"] == label_studio_backend.model_version(squares.ABOUT)
    assert prediction["score"] == pytest.approx(0.6)
    boxes = [region["value"] for region in prediction["result"]]
    assert [box["rectanglelabels"] for box in boxes] == [["with_mask"], ["without_mask"]]
    # A square from (10, 10) to (30, 30) in 200 x 150 pixels.
    assert [boxes[0][key] for key in ("x", "y", "width", "height")] == pytest.approx([5, 20 / 3, 10, 40 / 3])


def test_an_interface_without_our_labels_is_named(label_studio: LabelStudio, tmp_path: Path) -> None:
    config = interface().replace('"without_mask"', '"cat"')
    other = label_studio.said("POST", "/api/projects", json={"title": "cats", "label_config": config})["id"]
    server = server_processes.start(tmp_path / "server")
    try:
        answer = label_studio.ask("POST", "/api/ml", json={"project": other, "url": server.url, "title": "facemask"})
    finally:
        server_processes.stop(server)
    assert answer.status_code == 400 and "valid ML backend" in answer.text


def test_our_labels_go_into_label_studio_and_come_back(label_studio: LabelStudio, tmp_path: Path) -> None:
    root = drawn_sample.write_sample(tmp_path / "images", 4, 0).folder
    out = label_studio.files  # its document root, as docs/labels.md names it
    out.rmdir()
    label_export.export_labels(root, tmp_path / "annotations", out, "label_studio", squares.CLASSES, processes=1)
    given = {"title": "corrected", "label_config": (out / "interface.xml").read_text()}
    project = label_studio.said("POST", "/api/projects", json=given)["id"]
    storage = {"project": project, "path": str(out / "images"), "title": "images", "use_blob_urls": True}
    label_studio.said("POST", "/api/storages/localfiles", json=storage)
    tasks = json.loads((out / "tasks.json").read_text())
    label_studio.said("POST", f"/api/projects/{project}/import", json=tasks)
    shown = label_studio.ask("GET", tasks[0]["data"]["image"])
    assert shown.ok and shown.content in [path.read_bytes() for path in root.rglob("*.jpg")]
    export = tmp_path / "export.json"
    export.write_bytes(label_studio.ask("GET", f"/api/projects/{project}/export?exportType=JSON").content)
    mapping = parse_class_mapping("", "", squares.CLASSES)
    new, options = tmp_path / "new", ImportOptions(processes=1)
    report = import_labels(export, new, tmp_path / "new-annotations", mapping, options, out / "images")
    assert report.folder is not None
    for xml in root.rglob("*.xml"):
        mine, theirs = voc.read_voc(xml).boxes, voc.read_voc(report.folder / xml.name).boxes
        assert [box.label for box in mine] == [box.label for box in theirs]
        corners = [[(box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes] for boxes in (mine, theirs)]
        assert np.allclose(*corners, atol=0.01)

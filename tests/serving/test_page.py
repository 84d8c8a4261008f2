"""The page in a real browser, with a server behind it: a picture that is chosen, a camera, and what goes wrong."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from PIL import Image
from server_processes import Running, start, stop
from squares import encoded, picture
from test_server import send

from facemask.watch.watch_database import open_database

pytest.importorskip("fastapi", reason="needs the dependency group serve")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")

SAID = "document.querySelector('#said').innerText"
COUNTS = "document.querySelector('#counts').innerText.replace(/\\s+/g, ' ')"
READY = "document.body?.dataset.ready"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera sees a picture with a square of each class, and something that moves."""
    folder = tmp_path_factory.mktemp("browser")
    frames = [picture(640, 480) for _ in range(20)]
    for number, frame in enumerate(frames):
        frame[400:440, 20 * number : 20 * number + 40] = 255
    (folder / "camera.mjpeg").write_bytes(b"".join(encoded(frame, "JPEG", quality=95) for frame in frames))
    with Browser(folder / "profile", f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}") as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Browser]:
    """The page, just opened; nothing may go wrong in it or be asked of any other machine."""
    browser.open("about:blank")
    browser.until("location.href == 'about:blank'")
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(running.url)
    browser.until(READY)
    yield browser
    # The browser itself notes each response of 4xx; the page tells the user.
    assert [one for one in browser.complaints if "Failed to load resource" not in one] == []
    assert [url for url in browser.requests if not url.startswith((running.url, "data:", "blob:"))] == []


def downloaded(browser: Browser, selector: str, name: str, folder: Path) -> bytes:
    """What a click on a button brings."""
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run(f"document.querySelector('{selector}').click()")
    end = time.monotonic() + 60
    while not (folder / name).is_file():
        assert time.monotonic() < end, list(folder.iterdir())
        time.sleep(0.1)
    return (folder / name).read_bytes()


def test_it_has_a_link_to_the_statistics_of_a_watch_while_there_are_some(
    page: Browser, tmp_path: Path, request: pytest.FixtureRequest
):
    database = tmp_path / "watch.sqlite3"
    assert page.run("document.querySelector('#statistics').hidden")
    watched = start(tmp_path / "server", "--statistics", str(database))
    request.addfinalizer(lambda: stop(watched))
    open_database(database).close()
    page.open(watched.url)
    page.until(f"location.href.startsWith('{watched.url}') && {READY}")
    assert not page.run("document.querySelector('#statistics').hidden")
    page.run("document.querySelector('#statistics').click()")
    page.until("location.pathname == '/statistics' && document.querySelector('h1')")
    page.requests.clear()  # they are the other server's


def test_a_picture_is_chosen_looked_at_and_downloaded(page: Browser, running: Running, tmp_path: Path):
    photo = tmp_path / "my photo.jpg"
    photo.write_bytes(encoded(picture(), "JPEG", quality=95))
    assert page.run(COUNTS) == "- with_mask - without_mask - mask_weared_incorrect"
    page.choose_file("#file", photo)
    page.until(f"{SAID}.startsWith('2 faces.')")
    assert page.run(COUNTS) == "1 with_mask 1 without_mask 0 mask_weared_incorrect"
    assert page.run(SAID).endswith(" ms on squares fp32, 200 x 150 pixels")
    boxes = downloaded(page, "#get-boxes", "my photo.json", tmp_path)
    assert json.loads(boxes) == json.loads(send(running, "/detect", photo.read_bytes(), name=photo.name)[1])
    drawn = Image.open(io.BytesIO(downloaded(page, "#get-picture", "my photo-boxes.jpg", tmp_path)))
    assert drawn.size == (800, 600)
    # The box of the first square, (10, 10) to (30, 30), is drawn in the class's colour, at four times the size.
    red, green, _ = drawn.getpixel((39, 100))
    assert green > red + 40
    # The threshold is changed with the keyboard, the slider in focus.
    page.run("document.querySelector('#threshold').focus()")
    for _ in range(22):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft", windowsVirtualKeyCode=37)
        page.call("Input.dispatchKeyEvent", type="keyUp", key="ArrowLeft", code="ArrowLeft", windowsVirtualKeyCode=37)
    page.until(f"{COUNTS} == '1 with_mask 1 without_mask 1 mask_weared_incorrect'")
    assert page.run("document.querySelector('#threshold-value').value") == "0.28"


def test_what_is_no_picture_is_said_and_the_next_one_works(page: Browser, tmp_path: Path):
    broken, good = tmp_path / "broken.jpg", tmp_path / "good.png"
    broken.write_bytes(b"no picture at all")
    good.write_bytes(encoded(picture(classes=[2])))
    page.choose_file("#file", broken)
    page.until("document.querySelector('#said.error')")
    assert page.run(SAID) == "broken.jpg: not a picture that this browser can read."
    assert page.run("document.querySelector('#get-picture').disabled")
    page.choose_file("#file", good)
    page.until(f"{COUNTS} == '0 with_mask 1 without_mask 0 mask_weared_incorrect'")
    assert not page.run("document.querySelector('#said.error')")


def test_what_the_server_refuses_is_said(page: Browser, tmp_path: Path):
    large = tmp_path / "large.png"
    large.write_bytes(encoded(picture()) + bytes(3 << 20))
    page.choose_file("#file", large)
    page.until("document.querySelector('#said.error')")
    assert page.run(SAID) == "Too large: the limit is 2 MB."
    page.run("(document.querySelector('#runtime').value = 'missing')")
    empty = tmp_path / "empty.png"
    empty.write_bytes(encoded(picture(classes=[])))
    page.choose_file("#file", empty)
    page.until(f"{SAID} == 'another: is not installed.'")
    # Another runtime is tried with the same picture.
    page.run("(document.querySelector('#runtime').value = 'auto')")
    page.run("document.querySelector('#runtime').dispatchEvent(new Event('change'))")
    page.until(f"{SAID}.startsWith('No face found.')")


def test_a_camera_is_looked_into_and_nothing_is_written(page: Browser, running: Running):
    page.run("document.querySelector('#camera').click()")
    page.until(f"{COUNTS} == '1 with_mask 1 without_mask 0 mask_weared_incorrect'")
    pixels = "document.querySelector('#view').toDataURL()"
    first = page.run(pixels)
    page.until(f"{pixels} != {json.dumps(first)}")
    assert page.run("document.querySelector('#view').width") == 640
    assert running.files() == []
    page.run("document.querySelector('#camera').click()")
    page.until("!document.querySelector('#video').srcObject")


def test_a_camera_that_is_pulled_out_is_said(page: Browser):
    page.run("document.querySelector('#camera').click()")
    page.until(f"{COUNTS} == '1 with_mask 1 without_mask 0 mask_weared_incorrect'")
    page.run("document.querySelector('#video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    page.until(f"{SAID} == 'The camera is gone.'")
    assert page.run("document.querySelector('#camera').textContent") == "Start the camera"
    assert page.run("document.querySelector('#video').srcObject") is None


def test_it_fits_windows_of_all_sizes(page: Browser, tmp_path: Path):
    wide = tmp_path / "wide.png"
    wide.write_bytes(encoded(picture(1600, 200)))
    page.choose_file("#file", wide)
    page.until("!document.querySelector('#view').hidden")
    try:
        for width in (360, 768, 1280, 1920):
            page.resize(width, 900)
            page.until(f"innerWidth == {width} && document.documentElement.scrollWidth <= {width}", seconds=10)
            page.until(f"document.querySelector('#view').clientWidth >= Math.min(900, {width}) - 60", seconds=10)
    finally:
        page.resize(1280, 900)

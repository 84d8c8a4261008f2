"""The page in a real browser: a picture that is chosen, a camera that is looked into, and what goes wrong."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from processes import Running
from squares import encoded, picture
from test_server import send

pytest.importorskip("gradio", reason="the page's packages are not here (make serve installs them)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")

FILE = "#picture input[type=file]"


def said(place: str = "#found") -> str:
    """JavaScript for the text of a place."""
    return f"document.querySelector('{place}').innerText.replace(/\\s+/g, ' ')"


def button(inside: str, text: str) -> str:
    return f"[...document.querySelectorAll('{inside} button')].find(b => /{text}/i.test(b.innerText + b.ariaLabel))"


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
    # A page that is left while a camera runs complains, which is not the next one's fault.
    browser.open("about:blank")
    browser.until("location.href == 'about:blank'")
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(running.url)
    browser.until(f"document.querySelector('{FILE}')")
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith((running.url, "data:", "blob:"))] == []


def downloaded(browser: Browser, selector: str, name: str, folder: Path) -> bytes:
    """What a click on a button brings."""
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.until(f"!document.querySelector('{selector}').disabled")
    browser.run(f"document.querySelector('{selector}').click()")
    end = time.monotonic() + 60
    while not (folder / name).is_file():
        assert time.monotonic() < end, list(folder.iterdir())
        time.sleep(0.1)
    return (folder / name).read_bytes()


def test_a_picture_is_chosen_looked_at_and_downloaded(page: Browser, running: Running, tmp_path: Path):
    photo = tmp_path / "my photo.jpg"
    photo.write_bytes(encoded(picture(), "JPEG", quality=95))
    assert page.run(said()) == "- with_mask - without_mask - mask_weared_incorrect No picture yet."
    page.choose_file(FILE, photo)
    page.until("document.querySelector('#drawn img')?.naturalWidth")
    page.until(f"{said()}.startsWith('1 with_mask 1 without_mask 0 mask_weared_incorrect squares fp32')")
    assert page.run("document.querySelector('#drawn img').naturalWidth") == 800
    boxes = downloaded(page, "#get-boxes", "my photo.json", tmp_path)
    assert json.loads(boxes) == json.loads(send(running, "/detect", photo.read_bytes(), name=photo.name)[1])
    image = downloaded(page, "#get-image", "my photo-boxes.jpg", tmp_path)
    assert image == send(running, "/draw", photo.read_bytes())[1]
    # The threshold is changed with the keyboard, the slider in focus.
    page.run("document.querySelector('#threshold input[type=range]').focus()")
    for _ in range(22):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft", windowsVirtualKeyCode=37)
        page.call("Input.dispatchKeyEvent", type="keyUp", key="ArrowLeft", code="ArrowLeft", windowsVirtualKeyCode=37)
    page.until(f"{said()}.startsWith('1 with_mask 1 without_mask 1 mask_weared_incorrect')")
    page.run(f"{button('#picture', 'remove')}.click()")
    page.until(f"{said()}.endsWith('No picture yet.')")
    assert page.run("document.querySelector('#get-boxes').disabled")


def test_what_is_no_picture_is_said_and_the_next_one_works(page: Browser, tmp_path: Path):
    broken, good = tmp_path / "broken.jpg", tmp_path / "good.png"
    broken.write_bytes(b"no picture at all")
    good.write_bytes(encoded(picture(classes=[2])))
    page.choose_file(FILE, broken)
    page.until("document.querySelector('#found [role=alert]')")
    assert (
        page.run("document.querySelector('#drawn').getBoundingClientRect().width") > 500
    )  # nothing shrinks without it
    assert page.run(said()) == "broken.jpg: not an image, or damaged at its start."
    assert page.run("document.querySelector('#get-image').disabled")
    page.run(f"{button('#picture', 'remove')}.click()")
    page.until(f"{said()}.endsWith('No picture yet.')")
    page.choose_file(FILE, good)
    page.until(f"{said()}.startsWith('0 with_mask 1 without_mask')")


def test_a_camera_is_looked_into_and_nothing_is_written(page: Browser, running: Running):
    page.run(f"{button('[role=tablist]', 'Camera')}.click()")
    page.until(f"{button('#camera', 'webcam')}")
    files = running.files()
    page.run(f"{button('#camera', 'webcam')}.click()")
    page.until(f"{button('#camera', 'record')}")
    page.run(f"{button('#camera', 'record')}.click()")
    page.until("document.querySelector('#live img')?.naturalWidth")
    page.until(f"{said('#live-found')}.startsWith('1 with_mask 1 without_mask 0 mask_weared_incorrect')")
    first = page.run("document.querySelector('#live img').src")
    page.until(f"document.querySelector('#live img').src != {json.dumps(first)}")
    assert first.startswith("data:image/jpeg;base64,")
    assert running.files() == files
    page.run(f"{button('#camera', 'stop')}.click()")


def test_it_fits_windows_of_all_sizes(page: Browser, tmp_path: Path):
    wide = tmp_path / "wide.png"
    wide.write_bytes(encoded(picture(1600, 200)))
    page.choose_file(FILE, wide)
    page.until("document.querySelector('#drawn img')?.naturalWidth")
    try:
        for width in (360, 768, 1280, 1920):
            page.resize(width, 900)
            page.until(f"innerWidth == {width} && document.documentElement.scrollWidth <= {width}", seconds=10)
            sides = "[...document.querySelectorAll('#picture, #drawn')].map(e => e.getBoundingClientRect().width)"
            page.until(f"Math.min(...{sides}) >= Math.min(600, {width} / 2) - 60", seconds=10)
    finally:
        page.resize(1280, 900)

"""labelImg as a person uses it: a real window on a virtual display, a real mouse, and the XML that comes out."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageGrab, features

from facemask.data import voc
from facemask.labelling import display

GREY, RED = (128, 128, 128), (250, 10, 20)
FACE = (60, 40, 180, 120)

needs_labelimg = pytest.mark.skipif(
    not all(util.find_spec(module) for module in ("PyQt5", "labelImg")),
    reason="needs the dependency group label",
)
needs_display = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool") and features.check("xcb")),
    reason="needs Xvfb, xdotool and Pillow with xcb (apt-get install xvfb xdotool)",
)


def picture(path: Path) -> Path:
    """A grey picture of 300 x 200 with a red rectangle at FACE."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (300, 200), GREY)
    ImageDraw.Draw(image).rectangle((FACE[0], FACE[1], FACE[2] - 1, FACE[3] - 1), fill=RED)
    image.save(path)
    return path


class Desktop:
    """A virtual screen with a mouse and a keyboard."""

    def __init__(self, name: str, shots: Path) -> None:
        self.name = name
        self.shots = shots

    def do(self, *command: object) -> str:
        environment = {**os.environ, "DISPLAY": self.name}
        words = [str(word) for word in command]
        return subprocess.run(["xdotool", *words], env=environment, capture_output=True, text=True, timeout=20).stdout

    def screen(self) -> np.ndarray:
        return np.asarray(ImageGrab.grab(xdisplay=self.name).convert("RGB")).astype(int)

    def until(self, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        # That long, for the first start imports Qt from a cold disk.
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                shot = self.shots / "failed.png"
                ImageGrab.grab(xdisplay=self.name).save(shot)
                pytest.fail(f"waited {seconds} s for {what}; the screen is in {shot}")
            time.sleep(0.1)

    def red(self) -> tuple[int, int, int, int] | None:
        """Where the rectangle of the picture is on the screen; None where it is not."""
        rows, columns = np.nonzero(np.abs(self.screen() - RED).max(axis=2) < 12)
        if not len(rows):
            return None
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1

    def settled(self) -> tuple[int, int, int, int]:
        """Where the rectangle is once it no longer moves."""
        last: list[object] = [None]

        def still() -> bool:
            before, last[0] = last[0], self.red()
            return last[0] is not None and last[0] == before

        self.until(still, "the picture to stand still")
        return last[0]  # type: ignore[return-value]

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        self.do("mousemove", *start, "mousedown", 1)
        for part in (0.3, 0.7, 1):
            x, y = (round(a + part * (b - a)) for a, b in zip(start, end, strict=True))
            self.do("mousemove", x, y, "sleep", 0.05)
        self.do("mouseup", 1)

    def key(self, name: str) -> None:
        # There is no window manager that would give the window the keyboard back after a dialog.
        self.do("windowfocus", "--sync", self.window(), "key", name)

    def title(self) -> str:
        return self.do("getwindowname", self.window())

    def window(self) -> str:
        return (self.do("search", "--onlyvisible", "--name", "^labelImg .*png").split() or [""])[-1]


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1300x900x24", "-nolisten", "tcp"]
    # Otherwise the server resets when its last client leaves, and xdotool leaves all the time: a program that connects
    # during a reset fails.
    command.append("-noreset")
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            number = answer.readline().strip()
        assert number, "Xvfb did not start"
        yield Desktop(f":{number}", tmp_path)
    finally:
        server.terminate()
        server.wait(20)


@contextlib.contextmanager
def labelling(desktop: Desktop, images: Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("QT_", "WAYLAND"))},
        "DISPLAY": desktop.name,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        # As `import cv2` leaves it behind.
        "QT_QPA_PLATFORM_PLUGIN_PATH": "/nowhere/cv2/qt/plugins",
    }
    command = [sys.executable, "-m", "scripts.label", "--images", str(images)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@needs_labelimg
@needs_display
@pytest.mark.timeout(300)
def test_a_box_is_drawn_zoomed_scrolled_and_saved(tmp_path: Path, desktop: Desktop) -> None:
    images, home = tmp_path / "my images", tmp_path / "home"
    home.mkdir()
    (home / ".labelImgSettings.pkl").write_bytes(b"\x80\x05no pickle")
    first = picture(images / "train" / "1 a  b é.png")
    second = picture(images / "train" / "2.png")
    old = voc.Box("without_mask", 200, 20, 260, 90, difficult=True)
    voc.write_voc(second.with_suffix(".xml"), voc.Annotation(second, second.name, 300, 200, (old,)))
    # Without its classes.txt, a YOLO file makes labelImg abort.
    first.with_suffix(".txt").write_text("0 0.5 0.5 0.1 0.1\n")

    def draw() -> None:
        left, top, right, bottom = desktop.settled()
        desktop.do("mousemove", left - 20, top - 20)
        desktop.key("w")
        time.sleep(0.3)
        desktop.drag((left, top), (right, bottom))
        time.sleep(0.5)
        # The first Return may only close the list of completions.
        desktop.do("type", "--delay", 20, "with_mask")
        desktop.do("key", "Return", "sleep", 0.3, "key", "Return", "sleep", 0.3)

    with labelling(desktop, images, home) as process:
        desktop.until(lambda: "1 a  b" in desktop.title(), "the first picture")
        draw()
        desktop.key("ctrl+s")
        desktop.until(first.with_suffix(".xml").exists, "the XML")

        before = desktop.red()
        assert before
        desktop.do("mousemove", before[0] - 30, before[1] - 30, "keydown", "ctrl")
        desktop.do("click", "--repeat", 16, "--delay", 60, 4, "keyup", "ctrl")
        # The selected box covers the red until the pointer leaves it; its size tells the zoom.
        desktop.until(lambda: (now := desktop.red()) is not None and now[0] != before[0], "the wheel to zoom")
        zoomed = desktop.settled()
        desktop.do("click", "--repeat", 3, "--delay", 60, 5)
        desktop.until(lambda: (now := desktop.red()) is not None and now[1] < zoomed[1], "the scrolling")
        scrolled = desktop.settled()
        # Below the box, where there is nothing but the image to take hold of.
        desktop.drag((scrolled[0], scrolled[3] + 60), (scrolled[0] + 25, scrolled[3] + 90))
        desktop.until(lambda: desktop.red() != scrolled, "the image to be moved")
        moved = desktop.settled()
        assert 0 < moved[0] - scrolled[0] <= 25 and 0 < moved[1] - scrolled[1] <= 30, (scrolled, moved)

        desktop.key("d")
        desktop.until(lambda: "2.png" in desktop.title(), "the second picture")
        draw()
        desktop.key("ctrl+q")
        output, _ = process.communicate(timeout=20)

    assert process.returncode == 0, output
    assert "Traceback" not in output
    new = voc.read_voc(first.with_suffix(".xml"))
    assert (new.filename, new.width, new.height) == (first.name, 300, 200)
    [box] = new.boxes
    assert box.label == "with_mask"
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == pytest.approx(FACE, abs=1)
    # Not saved by hand: closing the window saves what was drawn, beside the boxes that were there.
    kept, added = voc.read_voc(second.with_suffix(".xml")).boxes
    assert kept == old
    assert (added.xmin, added.ymin, added.xmax, added.ymax) == pytest.approx(FACE, abs=1)
    assert sorted(path.name for path in images.rglob("*") if path.is_file()) == sorted(
        [first.name, "1 a  b é.xml", "1 a  b é.txt", "2.png", "2.xml"]
    )
    assert (home / ".labelImgSettings.pkl").read_bytes() == b"\x80\x05no pickle"


def run_window(images: Path, home: Path, steps: str) -> str:
    """Run steps on a `window` opened on a folder, without a screen; `errors` holds the messages it would have shown."""
    code = """
        import sys
        from pathlib import Path
        from facemask.labelling import labelimg
        from PyQt5.QtWidgets import QApplication
        labelimg.repair()
        app = QApplication(["labelImg"])
        Path(sys.argv[2]).write_text("with_mask\\n")
        window = labelimg.Window(None, sys.argv[2], None)
        errors = []
        window.error_message = lambda title, text: errors.append(text)
        window.discard_changes_dialog = lambda: sys.exit("asked about unsaved changes")
        window.show()
        window.import_dir_images(sys.argv[1])
        app.processEvents()
        def name(): return window.file_path and Path(window.file_path).name
        def move_box(): window.canvas.select_shape(window.canvas.shapes[0]); window.canvas.move_one_pixel("Right")
    """
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    display.forget_cv2(environment)
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + textwrap.dedent(steps), images, home / "classes.txt"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "cannot open shared object file" in answer.stderr:
        pytest.skip(f"Qt's system libraries are missing: {answer.stderr.splitlines()[-1]}")
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def labelled(path: Path) -> Path:
    """A picture with an XML, and that XML."""
    picture(path)
    box = voc.Box("with_mask", *FACE)
    voc.write_voc(path.with_suffix(".xml"), voc.Annotation(path, path.name, 300, 200, (box,)))
    return path.with_suffix(".xml")


@needs_labelimg
def test_a_broken_picture_does_not_lead_back_to_the_first(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    (images / "2.png").write_bytes(b"no picture")
    picture(images / "3.png")
    output = run_window(
        images,
        tmp_path,
        """
        window.open_next_image()
        window.verify_image()  # saves, where there is something to save
        assert "2.png" in errors.pop() and not errors
        window.open_next_image(); print(name())
        window.open_prev_image(); print(name())
        window.open_prev_image(); print(name())
        """,
    )
    assert output.split() == ["3.png", "None", "1.png"]
    assert not (images / "2.xml").exists()
    assert voc.read_voc(xml).boxes == (voc.Box("with_mask", *FACE),)


@needs_labelimg
def test_an_xml_that_cannot_be_read_is_named_and_left_alone(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    xml.write_text(xml.read_text().replace("<xmax>180", "<xmax>wide"))
    broken = xml.read_bytes()
    picture(images / "2.png")
    output = run_window(
        images, tmp_path, "window.open_next_image(); app.processEvents(); print(name(), len(errors), errors[0])"
    )
    assert output.startswith("2.png 1")
    assert "1.xml" in output
    assert "xmax" in output
    assert xml.read_bytes() == broken


@needs_labelimg
def test_boxes_are_saved_when_another_picture_is_chosen_from_the_list(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    labelled(images / "2.png")
    output = run_window(
        images, tmp_path, "move_box(); window.file_item_double_clicked(window.file_list_widget.item(1)); print(name())"
    )
    assert output.split()[-1] == "2.png"
    assert voc.read_voc(xml).boxes[0].xmin == FACE[0] + 1


@needs_labelimg
def test_the_format_and_the_folder_cannot_be_changed(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "sub" / "1.png")
    run_window(images, tmp_path, "window.change_format(); window.change_save_dir_dialog(); move_box(); window.close()")
    assert {path.suffix for path in images.rglob("*.*")} == {".png", ".xml"}
    assert voc.read_voc(xml).boxes[0].xmin == FACE[0] + 1


@needs_labelimg
def test_a_failed_save_is_shown_and_keeps_the_old_file(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    before = xml.read_bytes()
    output = run_window(
        images,
        tmp_path,
        """
        move_box()
        window.canvas.shapes[0].label = "with\\x01mask"
        window.save_file()
        print(len(errors), "1.xml" in errors[0], window.dirty)
        """,
    )
    assert output.split() == ["1", "True", "True"]
    assert xml.read_bytes() == before


@needs_labelimg
def test_all_boxes_are_shown_where_labelimg_gives_up(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    twice = xml.read_text().replace("</annotation>", xml.read_text().partition("<segmented>0</segmented>")[2])
    xml.write_text(twice.replace("<difficult>0", "<difficult>Unspecified"))
    assert run_window(images, tmp_path, "print(len(window.canvas.shapes))").split() == ["2"]


@needs_labelimg
def test_a_picture_is_verified_as_make_records_reads_it(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    text = xml.read_text().replace("<filename>1.png</filename>", "")  # without which labelImg's own reader gives up
    xml.write_text(text.replace("<annotation>", '<annotation verified="true">'))
    assert voc.read_voc(xml).verified
    assert run_window(images, tmp_path, "print(window.canvas.verified)").split() == ["True"]


@needs_labelimg
def test_a_model_s_boxes_that_a_person_verified_are_the_persons(tmp_path: Path) -> None:
    images = tmp_path / "images"
    xml = labelled(images / "1.png")
    voc.write_voc(xml, dataclasses.replace(voc.read_voc(xml), source="prelabel 0123"))
    run_window(images, tmp_path, "window.verify_image()")
    assert voc.read_voc(xml).source == "Unknown"
    assert voc.read_voc(xml).boxes == (voc.Box("with_mask", *FACE),)
    assert 'verified="yes"' in xml.read_text()


PEEK = """
import sys
from pathlib import Path
from PyQt5.QtCore import QTimer
from PyQt5.QtWidgets import QApplication
from facemask.labelling import labelimg

def peek():
    [window] = [one for one in QApplication.topLevelWidgets() if isinstance(one, labelimg.Window)]
    print(window.windowTitle(), window.statusBar().currentMessage(), sep="|")
    window.verify_image()
    window.open_next_image()
    print(window.windowTitle())
    window.close()

class Peeked(labelimg.Window):
    def import_dir_images(self, folder):
        super().import_dir_images(folder)
        QTimer.singleShot(0, peek)

images, classes = map(Path, sys.argv[1:])
labelimg.Window = Peeked
chosen = [images / "3.png", images / "sub" / "2.png"]
sys.exit(labelimg.show(images, ["with_mask"], classes, chosen, {chosen[0]: "wrong class: look"}))
"""


@needs_labelimg
def test_only_the_chosen_pictures_open_with_a_note_and_space_verifies_one(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name in ("1.png", "sub/2.png", "3.png"):
        path = picture(images / name)
        box = voc.Box("with_mask", *FACE)
        voc.write_voc(path.with_suffix(".xml"), voc.Annotation(path, path.name, 300, 200, (box,)))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", PEEK, str(images), str(tmp_path / "classes.txt")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("labelImg ")]
    assert said == [
        f"labelImg {images / '3.png'} [1 / 2]|wrong class: look",
        f"labelImg {images / 'sub' / '2.png'} [2 / 2]",
    ]
    assert voc.read_voc(images / "3.xml").verified
    assert [(box.label, box.xmin) for box in voc.read_voc(images / "3.xml").boxes] == [("with_mask", FACE[0])]
    assert not voc.read_voc(images / "sub" / "2.xml").verified

"""labelImg 1.8.6, repaired from outside, as a window on a folder of images.

labelImg is no longer maintained, and its last release aborts on Python 3.10 and later. What is put right here stands
in the order of the file: numbers that PyQt5 refuses, what is written and read, and what a window does. No installed
file is changed. Imported only in the process that shows the window: PyQt5 and labelImg must be there.
"""

import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterable
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

if util.find_spec("distutils") is None:
    # labelImg imports distutils.spawn and uses nothing of it; Python 3.12 has no distutils.
    sys.modules["distutils"] = types.ModuleType("distutils")
    sys.modules["distutils.spawn"] = types.ModuleType("distutils.spawn")

from labelImg import labelImg
from libs import constants, pascal_voc_io
from libs.canvas import Canvas
from libs.labelFile import LabelFileError, LabelFileFormat
from libs.settings import Settings
from PyQt5.QtCore import QSize, QTimer, pyqtSignal
from PyQt5.QtGui import QPainter
from PyQt5.QtWidgets import QAbstractSlider, QApplication, QSpinBox

from scripts.dataset import voc
from scripts.support.errors import UserError
from scripts.support.files import replacing

INTEGER_CALLS = (
    (QPainter, "drawLine"),  # the cross hair while a box is begun
    (QPainter, "drawRect"),  # the box while it is drawn
    (QPainter, "drawText"),  # a box's class, with View > Display Labels
    (QAbstractSlider, "setValue"),  # the scroll bars: wheel, panning, zoom
    (QSpinBox, "setValue"),  # the zoom: Ctrl and wheel
)
"""The calls in which labelImg hands a float to Qt where Qt has an int. Until 3.9 Python's C API made ints of them in
silence; since 3.10 that is a TypeError, and a TypeError in an event handler is an abort."""


def show(images: Path, classes: Iterable[str], classes_file: Path) -> int:
    """Open the window on a folder and stay until it is closed.

    Args:
        images: The folder, with its sub-folders. Each image's XML is read and written beside it.
        classes: The names to offer for a box.
        classes_file: Where to write the names as labelImg reads them.

    Returns:
        The exit code of Qt's event loop: 0.

    Raises:
        UserError: No image in the folder that Qt can read.
    """
    classes_file.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    repair()
    app = QApplication(["labelImg"])
    app.setApplicationName(labelImg.__appname__)
    app.setWindowIcon(labelImg.new_icon("app"))
    # Not given the folder: with it, labelImg first opens the folder of the last session, or the parent folder.
    window = Window(None, str(classes_file), None)
    if not window.scan_all_images(str(images)):
        raise UserError(f"{images}: no image in it that labelImg can open. Put your photographs there.")
    sys.excepthook = _Report(window)
    signal.signal(signal.SIGINT, lambda *_: window.close())
    # Python sees a signal only when Qt calls into it.
    alive = QTimer()
    alive.timeout.connect(lambda: None)
    alive.start(200)
    window.showMaximized()
    QTimer.singleShot(0, lambda: window.import_dir_images(str(images)))
    return app.exec_()


def repair() -> None:
    """Put right what is wrong in PyQt5's and labelImg's classes for this process. Called once."""
    for owner, name in INTEGER_CALLS:
        setattr(owner, name, _rounding(getattr(owner, name)))
    labelImg.Canvas = RepairedCanvas
    Settings.load = _load_settings
    # The user's own settings of labelImg, in ~/.labelImgSettings.pkl, stay as they are.
    Settings.save = Settings.reset = lambda self: True
    pascal_voc_io.PascalVocWriter.save = _save


def _rounding(call: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(self: Any, *arguments: Any) -> Any:
        return call(self, *(round(value) if isinstance(value, float) else value for value in arguments))

    return rounded


class RepairedCanvas(Canvas):
    """The canvas whose image can be moved by dragging it.

    Dragging emits distances in floats, and PyQt5 turns a float in a signal declared with int into any number at all.
    """

    scrollRequest = pyqtSignal(float, int)  # noqa: N815 (Qt's way to name signals)


def _load_settings(settings: Settings) -> bool:
    """Start each session alike, instead of from a pickle that an older labelImg or another folder left behind.

    In it were a save format other than Pascal VOC, a folder to save to that is not the image's, or bytes that are no
    settings at all.
    """
    settings.data = {
        constants.SETTING_LABEL_FILE_FORMAT: LabelFileFormat.PASCAL_VOC,
        constants.SETTING_AUTO_SAVE: True,
        constants.SETTING_PAINT_LABEL: True,
        constants.SETTING_WIN_SIZE: QSize(1200, 800),
    }
    return True


def _save(writer: pascal_voc_io.PascalVocWriter, target_file: str) -> None:
    """Write the XML whole or not at all, with its texts as they are.

    labelImg writes into the old file, and turns two spaces in a name into a tab.
    """
    root = writer.gen_xml()
    writer.append_objects(root)
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode")
    try:
        # A control character in a name or a label makes a file that nobody can read again.
        ElementTree.fromstring(text)
        with replacing(Path(target_file)) as beside:
            beside.write_text(text + "\n", encoding="utf-8")
    except (OSError, ElementTree.ParseError) as error:
        raise LabelFileError(f"{target_file}: {error}") from error


class Window(labelImg.MainWindow):
    """labelImg's window, which reads and writes Pascal VOC beside each image and nothing else."""

    failed: str | None = None
    """The image that could not be opened, while it is the current one."""

    def load_file(self, file_path: str | None = None) -> bool:
        """Open an image, and its XML where there is one."""
        if file_path is not None:
            # Saving and autosaving go there; one folder for all would mix up the images of sub-folders.
            self.default_save_dir = str(Path(file_path).absolute().parent)
        loaded = bool(super().load_file(file_path))
        self.failed = None if loaded else file_path
        if not loaded:
            # Else the boxes of the image before are still there, to be saved.
            self.canvas.load_shapes([])
            self.set_clean()
        return loaded

    def show_bounding_box_from_annotation_file(self, file_path: str) -> None:
        """Read the image's XML; a .txt or .json beside it would change the format, or abort without a class list."""
        self.load_pascal_xml_by_filename(str(Path(file_path).with_suffix(pascal_voc_io.XML_EXT)))

    def load_pascal_xml_by_filename(self, xml_path: str) -> None:
        """Read an XML as `make records` does; labelImg's own reader leaves out what follows the first odd value."""
        if not Path(xml_path).is_file():
            return
        try:
            annotation = voc.read(Path(xml_path))
        except UserError as error:
            message = f"{error}\n\nIts boxes are not shown. Saving replaces the file."
            QTimer.singleShot(0, lambda: self.error_message("This annotation cannot be read", message))
            return
        self.load_labels(
            (
                box.label,
                [(box.xmin, box.ymin), (box.xmax, box.ymin), (box.xmax, box.ymax), (box.xmin, box.ymax)],
                None,
                None,
                box.difficult,
            )
            for box in annotation.boxes
        )
        self.canvas.verified = pascal_voc_io.PascalVocReader(xml_path).verified

    def open_next_image(self, _value: bool = False) -> None:
        """Go on to the next image, also from one that could not be opened (labelImg starts again at the first)."""
        self._past_failed(super().open_next_image)

    def open_prev_image(self, _value: bool = False) -> None:
        """Go back to the image before, also from one that could not be opened."""
        self._past_failed(super().open_prev_image)

    def _past_failed(self, move: Callable[[], None]) -> None:
        failed = self.failed
        if failed is None or failed not in self.m_img_list:
            move()
            return
        self.file_path: str | None = failed
        move()
        if self.file_path == failed:
            self.file_path = None

    def import_dir_images(self, dir_path: str) -> None:
        """Open another folder."""
        self.failed = None
        # Without one, autosaving asks for a folder before the first image is there.
        self.default_save_dir = dir_path
        super().import_dir_images(dir_path)

    def file_item_double_clicked(self, item: Any = None) -> None:
        """Open an image from the list, after saving this one's boxes (labelImg throws them away)."""
        if self.dirty and self.auto_saving.isChecked():
            self.save_file()
        if self.may_continue():
            super().file_item_double_clicked(item)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Save this image's boxes where autosaving is on; else labelImg asks."""
        if self.dirty and self.auto_saving.isChecked():
            self.save_file()
        super().closeEvent(event)

    def change_format(self) -> None:
        """Stay with Pascal VOC."""
        self.status("Boxes are saved as Pascal VOC: that is what `make records` reads.")

    def change_save_dir_dialog(self, _value: bool = False) -> None:
        """Stay with the image's own folder."""
        self.status("Boxes are saved beside each image: that is where `make records` looks for them.")

    def reset_all(self) -> None:
        """Nothing to do: the settings are the same in each session (labelImg starts itself anew, unrepaired)."""
        self.status("Each session starts with the same settings.")


class _Report:
    """What happens to an exception in a handler: it is shown, and the window stays (Qt would abort the process)."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        self.window.status(f"{kind.__name__} in labelImg: {error}. Your boxes are still there; save them.", 0)

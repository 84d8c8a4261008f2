"""labelImg 1.8.6, repaired from outside, as a window on a folder of images.

labelImg is no longer maintained, and its last release aborts on Python 3.10 and later. This module repairs, in this
order: numbers that PyQt5 refuses, reading and writing, and the window. It changes no installed file. Import it only in
the process that shows the window; it needs PyQt5 and labelImg.
"""

import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from facemask.core.errors import UserError
from facemask.core.files import replacing_file
from facemask.data import voc

INTEGER_CALLS = (
    (QPainter, "drawLine"),  # the cross hair while a box is begun
    (QPainter, "drawRect"),  # the box while it is drawn
    (QPainter, "drawText"),  # a box's class, with View > Display Labels
    (QAbstractSlider, "setValue"),  # the scroll bars: wheel, panning, zoom
    (QSpinBox, "setValue"),  # the zoom: Ctrl and wheel
)
"""The calls in which labelImg passes a float where Qt takes an int. Up to 3.9 Python's C API converted it silently.
Since 3.10 it is a TypeError, and a TypeError in an event handler aborts the process."""


def show(
    images: Path,
    classes: Iterable[str],
    classes_file: Path,
    pictures: Sequence[Path] | None = None,
    notes: Mapping[Path, str] | None = None,
) -> int:
    """Open the window on a folder, and return when the user closes it.

    Args:
        images: The folder, with its sub-folders. The XML of an image is read and written beside it.
        classes: The class names to offer for a box.
        classes_file: The file to write the class names to, for labelImg to read.
        pictures: The only pictures to open, in this order; None for all in the folder.
        notes: What the status bar shows while a picture is open, by its path.

    Returns:
        The exit code of Qt's event loop: 0.

    Raises:
        UserError: The folder holds no image that Qt can read.
    """
    classes_file.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    repair()
    app = QApplication(["labelImg"])
    app.setApplicationName(labelImg.__appname__)
    app.setWindowIcon(labelImg.new_icon("app"))
    # The folder is opened below. Given here, labelImg would first open the last session's folder or the parent folder.
    window = Window(None, str(classes_file), None)
    if pictures is not None:
        window.chosen = (str(images), [str(picture) for picture in pictures])
    window.notes = {str(picture): note for picture, note in (notes or {}).items()}
    if not window.scan_all_images(str(images)):
        raise UserError(f"{images}: holds no image that labelImg can open. Put your photographs there.")
    sys.excepthook = _Report(window)
    signal.signal(signal.SIGINT, lambda *_: window.close())
    # Python handles a signal only while Qt runs Python code, so a timer runs some.
    alive = QTimer()
    alive.timeout.connect(lambda: None)
    alive.start(200)
    window.showMaximized()
    QTimer.singleShot(0, lambda: window.import_dir_images(str(images)))
    exit_code: int = app.exec_()
    return exit_code


def repair() -> None:
    """Patch the classes of PyQt5 and labelImg in this process. Call it once."""
    for owner, name in INTEGER_CALLS:
        setattr(owner, name, _rounding(getattr(owner, name)))
    labelImg.Canvas = RepairedCanvas
    Settings.load = _load_settings
    # The user's own labelImg settings, ~/.labelImgSettings.pkl, are not changed.
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
    """Start each session with the same settings, instead of reading the pickle of an earlier session.

    That pickle may hold another save format, another folder to save to, or no settings at all.
    """
    settings.data = {
        constants.SETTING_LABEL_FILE_FORMAT: LabelFileFormat.PASCAL_VOC,
        constants.SETTING_AUTO_SAVE: True,
        constants.SETTING_PAINT_LABEL: True,
        constants.SETTING_WIN_SIZE: QSize(1200, 800),
    }
    return True


def _save(writer: pascal_voc_io.PascalVocWriter, target_file: str) -> None:
    """Write the XML completely or not at all, with its texts unchanged.

    labelImg itself overwrites the old file in place, and turns two spaces in a name into a tab.
    """
    root = writer.gen_xml()
    writer.append_objects(root)
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode")
    try:
        # A control character in a name or a label would make an unreadable file.
        ElementTree.fromstring(text)
        with replacing_file(Path(target_file)) as beside:
            beside.write_text(text + "\n", encoding="utf-8")
    except (OSError, ElementTree.ParseError) as error:
        raise LabelFileError(f"{target_file}: {error}") from error


class Window(labelImg.MainWindow):
    """labelImg's window, which reads and writes Pascal VOC beside each image and nothing else."""

    failed: str | None = None
    """The image that could not be opened, while it is the current one."""
    chosen: tuple[str, list[str]] = ("", [])
    """A folder, and the only pictures to open of it, in their order."""
    notes: Mapping[str, str] = {}
    """What the status bar shows while a picture is open, by its path."""

    def scan_all_images(self, folder_path: str) -> list[str]:
        """The pictures in a folder: the chosen ones where it is their folder."""
        folder, pictures = self.chosen
        return list(pictures) if folder == folder_path else list(super().scan_all_images(folder_path))

    def load_file(self, file_path: str | None = None) -> bool:
        """Open an image, and its XML where there is one."""
        if file_path is not None:
            # labelImg saves to this folder. A single folder would mix up images of different sub-folders.
            self.default_save_dir = str(Path(file_path).absolute().parent)
        loaded = bool(super().load_file(file_path))
        self.failed = None if loaded else file_path
        if not loaded:
            # Otherwise the boxes of the last image would remain, and be saved for this one.
            self.canvas.load_shapes([])
            self.set_clean()
        elif note := self.notes.get(self.file_path or ""):
            self.status(note, 0)
        return loaded

    def show_bounding_box_from_annotation_file(self, file_path: str) -> None:
        """Read the image's XML. labelImg would also read a .txt or .json, which changes the format or aborts."""
        self.load_pascal_xml_by_filename(str(Path(file_path).with_suffix(pascal_voc_io.XML_EXT)))

    def load_pascal_xml_by_filename(self, xml_path: str) -> None:
        """Read an XML as `make records` does; labelImg's own reader stops at the first unexpected value."""
        if not Path(xml_path).is_file():
            return
        try:
            annotation = voc.read_voc(Path(xml_path))
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
        self.canvas.verified = annotation.verified

    def open_next_image(self, _value: bool = False) -> None:
        """Open the next image, also from one that could not be opened. labelImg would go back to the first image."""
        self._past_failed(super().open_next_image)

    def open_prev_image(self, _value: bool = False) -> None:
        """Open the previous image, also from one that could not be opened."""
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
        # Without a folder, autosaving asks for one before the first image is open.
        self.default_save_dir = dir_path
        super().import_dir_images(dir_path)

    def file_item_double_clicked(self, item: Any = None) -> None:
        """Save this image's boxes, which labelImg would drop, and open an image from the list."""
        if self.dirty and self.auto_saving.isChecked():
            self.save_file()
        if self.may_continue():
            super().file_item_double_clicked(item)

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Save this image's boxes if autosaving is on; otherwise labelImg asks."""
        if self.dirty and self.auto_saving.isChecked():
            self.save_file()
        super().closeEvent(event)

    def change_format(self) -> None:
        """Keep the format Pascal VOC."""
        self.status("Boxes are saved as Pascal VOC: that is what `make records` reads.")

    def change_save_dir_dialog(self, _value: bool = False) -> None:
        """Keep saving beside each image."""
        self.status("Boxes are saved beside each image: that is where `make records` looks for them.")

    def reset_all(self) -> None:
        """Do nothing: each session has the same settings. labelImg would restart itself without these repairs."""
        self.status("Each session starts with the same settings.")


class _Report:
    """Shows an exception of an event handler in the status bar. Without it Qt would abort the process."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        self.window.status(f"{kind.__name__} in labelImg: {error}. Your boxes are still there; save them.", 0)

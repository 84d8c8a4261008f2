"""What every face detector does, the table of those there are, and where their files come from."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scripts.support import downloads
from scripts.support.downloads import PRETRAINED, Transfer
from scripts.support.errors import UserError

if TYPE_CHECKING:
    import supervision as sv


class FaceFinder(Protocol):
    """Finds faces in pictures, whatever they wear. Threads may call it at the same time."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def find(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """Find the faces in each picture.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size.

        Returns:
            For each picture its faces, best first, each once: `xyxy` in float32 pixels within the picture, and
            `confidence` in 0..1.
        """
        ...


@dataclass(frozen=True)
class Published:
    """A file of a face detector as its makers publish it, accepted by its digest only.

    Attributes:
        address: Over HTTPS.
        digest: `<algorithm>:<hex digits>`.
    """

    address: str
    digest: str


@dataclass(frozen=True)
class Kind:
    """A face detector by its own file; `ssd` has none and is not in this table.

    Attributes:
        module: What loads it: `load(files, size)` of `scripts.detect.faces.<module>`.
        files: What it reads, the network or cascade first; none where OpenCV brings it.
        size: The longer side in pixels to which a picture is scaled before faces are looked for.
    """

    module: str
    files: tuple[Published, ...]
    size: int


KINDS = {
    "yunet": Kind(
        "yunet",
        (
            # The digest is that of the pointer file in opencv/opencv_zoo at this commit.
            Published(
                "https://github.com/opencv/opencv_zoo/raw/82b38c8f98e7b52aa171400f3e4c722352d0669f/"
                "models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
                "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            ),
        ),
        size=960,
    ),
    "res10": Kind(
        "res10",
        (
            # The digest is that in opencv/opencv_extra, testdata/dnn/download_models.py.
            Published(
                "https://github.com/opencv/opencv_3rdparty/raw/8033c2bc31b3256f0d461c919ecc01c2428ca03b/"
                "opencv_face_detector_uint8.pb",
                "sha1:4f2fdf6f231d759d7bbdb94353c5a68690f3d2ae",
            ),
            # How OpenCV is to read it. Nobody publishes a digest: this is that of the file in this commit.
            Published(
                "https://raw.githubusercontent.com/opencv/opencv/ab129cfb80ea437e194c702f4b39fd67153ee15c/"
                "samples/dnn/face_detector/opencv_face_detector.pbtxt",
                "sha256:5397808362fc6fb7c4044484848e297b22449d913a267fa7f8bd9d86dce29144",
            ),
        ),
        size=525,
    ),
    "haar": Kind("haar", (), size=640),
}
"""The face detectors by name; each size was the best of those tried on the val split (docs/two_stage.md)."""

NAMES = (*KINDS, "ssd")
"""What FACES= takes; `ssd` is the exported detector of RUN= with its classes ignored (`as_faces.py`)."""


def files_of(
    name: str,
    given: Path | None,
    into: Path = PRETRAINED,
    *,
    fetch: Callable[[Transfer, str], Path] = downloads.fetch,
    say: Callable[[str], None] = print,
) -> tuple[Path, ...]:
    """The files that a face detector reads, fetched if need be.

    Args:
        name: One of `KINDS`.
        given: The user's own file instead of the published one: YuNet's network (.onnx), res10's (.pb or .caffemodel,
            its .pbtxt or .prototxt in the same folder), or a cascade (.xml). It is taken as it is.
        into: The folder of downloads.
        fetch: What brings a file and checks it.
        say: Called with each line that the user should read.

    Raises:
        UserError: A file is missing, cannot be had, or is not the one expected.
    """
    kind = KINDS[name]
    module = importlib.import_module(f"scripts.detect.faces.{kind.module}")
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: no such file. FACES_MODEL= takes the path of {module.FILE}.")
        found: tuple[Path, ...] = module.with_companions(given)
        return found
    if not kind.files:
        default: tuple[Path, ...] = module.with_companions(None)
        return default
    paths = []
    for file in kind.files:
        target = into / downloads.file_name(file.address)
        otherwise = f"Put the file at {target} by hand, name your own with FACES_MODEL=<file>, or take FACES=haar."
        paths.append(fetch(Transfer(file.address, target, otherwise, say=say), file.digest))
    return tuple(paths)


def load(name: str, files: Sequence[Path], size: int = 0) -> FaceFinder:
    """Load a face detector from its files.

    Args:
        name: One of `KINDS`.
        files: What `files_of` gives.
        size: The longer side in pixels to which pictures are scaled first; 0 for the kind's own.

    Raises:
        UserError: OpenCV cannot load them.
    """
    kind = KINDS[name]
    finder: FaceFinder = importlib.import_module(f"scripts.detect.faces.{kind.module}").load(files, size or kind.size)
    return finder

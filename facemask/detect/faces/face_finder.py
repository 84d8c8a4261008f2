"""The interface of all face detectors, the table of them, and the download of their files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facemask.core import downloads
from facemask.core.downloads import PRETRAINED, RemoteFile
from facemask.core.errors import UserError
from facemask.core.files import sha256
from facemask.core.provenance import READY
from facemask.detect.faces import haar, res10, yunet
from facemask.detect.faces.several_sizes import SeveralSizes
from facemask.detect.faces.yunet import YuNet
from facemask.ready import shipped_detector

if TYPE_CHECKING:
    import supervision as sv


class FaceFinder(Protocol):
    """Finds faces in pictures, with or without masks. Threads may call it at the same time."""

    @property
    def name(self) -> str:
        """A name to display."""
        ...

    def find(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """Find the faces in each picture.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size.

        Returns:
            For each picture its faces, best first, one box a face: `xyxy` in float32 pixels within the picture, and
            `confidence` in 0..1.
        """
        ...


@dataclass(frozen=True)
class Published:
    """A published file of a face detector. It is accepted only if its digest is right.

    Attributes:
        address: Over HTTPS.
        digest: `<algorithm>:<hex digits>`.
    """

    address: str
    digest: str


@dataclass(frozen=True)
class Kind:
    """A kind of face detector, with its files. `ssd` is not in this table, because it uses the exported run.

    Attributes:
        file: A description of its file, for messages.
        with_companions: Maps the user's own file, or None, to all files that are read.
        load: Loads the face detector from these files and the longer side in pixels to which pictures are scaled.
        files: The published files that it reads, the network or cascade first; empty if OpenCV contains them.
        size: The default of the longer side in pixels to which a picture is scaled.
    """

    file: str
    with_companions: Callable[[Path | None], tuple[Path, ...]]
    load: Callable[[Sequence[Path], int], FaceFinder]
    files: tuple[Published, ...]
    size: int


KINDS = {
    "yunet": Kind(
        yunet.FILE,
        yunet.with_companions,
        yunet.load_yunet,
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
        res10.FILE,
        res10.with_companions,
        res10.load_res10,
        (
            # The digest is that in opencv/opencv_extra, testdata/dnn/download_models.py.
            Published(
                "https://github.com/opencv/opencv_3rdparty/raw/8033c2bc31b3256f0d461c919ecc01c2428ca03b/"
                "opencv_face_detector_uint8.pb",
                "sha1:4f2fdf6f231d759d7bbdb94353c5a68690f3d2ae",
            ),
            # The text graph for OpenCV. No digest of it is published; this is the digest of the file in this commit.
            Published(
                "https://raw.githubusercontent.com/opencv/opencv/ab129cfb80ea437e194c702f4b39fd67153ee15c/"
                "samples/dnn/face_detector/opencv_face_detector.pbtxt",
                "sha256:5397808362fc6fb7c4044484848e297b22449d913a267fa7f8bd9d86dce29144",
            ),
        ),
        size=525,
    ),
    "haar": Kind(haar.FILE, haar.with_companions, haar.load_haar, (), size=640),
}
"""The face detectors by name. docs/two_stage.md compares the sizes on the val split."""

NAMES = (*KINDS, "ssd")
"""What FACES= takes; `ssd` is the exported detector of RUN= with its classes ignored (`faces_as_detections.py`)."""


def face_finder_files(
    name: str,
    given: Path | None,
    into: Path = PRETRAINED,
    *,
    fetch: Callable[[RemoteFile, str], Path] = downloads.fetch_file,
    report: Callable[[str], None] = print,
    shipped: Path = shipped_detector.FOLDER,
) -> tuple[Path, ...]:
    """The files that a face detector reads. YuNet's comes with facemask; missing ones are downloaded.

    Args:
        name: One of `KINDS`.
        given: The user's own file, or None for the published one: YuNet's network (.onnx), res10's (.pb or .caffemodel,
            with its .pbtxt or .prototxt in the same folder), or a cascade (.xml). Its digest is not checked. `READY`
            for the shipped YuNet, whose digest is checked.
        into: The folder of downloads.
        fetch: Downloads a file and checks its digest.
        report: Called with each line for the user.
        shipped: The folder of the shipped detector.

    Raises:
        UserError: A file is missing, cannot be downloaded, or has another digest; or `READY` for another face detector.
    """
    kind = KINDS[name]
    if given == Path(READY):
        if name != "yunet":
            raise UserError(f"FACES_MODEL={READY}: is a YuNet. Leave FACES={name} out, or name {kind.file}.")
        return (shipped_detector.open_shipped(shipped).folder / shipped_detector.FACES,)
    if given is None and name == "yunet" and (own := shipped_detector.shipped_yunet(shipped)) is not None:
        if not is_published(own):
            raise UserError(f"{own}: was changed: its SHA-256 is not the published one. Install facemask again.")
        return (own,)
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: no such file. FACES_MODEL= takes the path of {kind.file}.")
        return kind.with_companions(given)
    if not kind.files:
        return kind.with_companions(None)
    paths = []
    for file in kind.files:
        target = into / downloads.file_name(file.address)
        otherwise = f"Put the file at {target} by hand, name your own with FACES_MODEL=<file>, or take FACES=haar."
        paths.append(fetch(RemoteFile(file.address, target, otherwise, report=report), file.digest))
    return tuple(paths)


def is_published(yunet_file: Path) -> bool:
    """Whether a file is YuNet's network as it was published, and not one that `make faces` trained."""
    return f"sha256:{sha256(yunet_file)}" == KINDS["yunet"].files[0].digest


def refuse_several_sizes(name: str, sizes: Sequence[int]) -> None:
    """Raise a UserError if there are several sizes for a face detector that searches at one."""
    if len(sizes) > 1 and name != "yunet":
        raise UserError(f"FACES_SIZE={','.join(map(str, sizes))}: FACES={name} searches at one size. Name one.")


def load_face_finder(name: str, files: Sequence[Path], sizes: Sequence[int] = ()) -> FaceFinder:
    """Load a face detector from its files.

    Args:
        name: One of `KINDS`.
        files: The paths from `face_finder_files`.
        sizes: The longer sides in pixels to which pictures are scaled, several for YuNet alone; none for the default.

    Raises:
        UserError: A file cannot be loaded, or there are several sizes for another face detector.
    """
    refuse_several_sizes(name, sizes)
    kind = KINDS[name]
    first, *others = sizes or [kind.size]
    finder = kind.load(files, first)
    if isinstance(finder, YuNet) and others:
        return SeveralSizes((finder, *(finder.at_size(size) for size in others)))
    return finder

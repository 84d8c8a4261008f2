"""Check an image file's bytes, decode them, and prepare the bytes that a record stores.

The API decodes with `tf.io.decode_image(channels=3)`. It decodes a JPEG or PNG to the same pixels as Pillow: grey
images, palettes, 16 bits (both keep the upper 8) and alpha (both drop it) included. So the bytes of these files are
stored unchanged. Files that it cannot decode, or decodes to something else than a viewer shows, are encoded again: see
`prepare_image`.
"""

import hashlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from facemask.core.errors import UserError
from facemask.core.files import read_plain_file
from facemask.data.perceptual_hash import perceptual_hash

SUFFIXES = frozenset([".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"])
"""The suffixes of image files in a data set. The format is detected from the content, not from the suffix."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""The Pillow decoders for `SUFFIXES` (JPEG includes MPO). No other decoder is ever used."""

UNREAD_SUFFIXES = frozenset([".avif", ".heic", ".heif", ".hif", ".j2k", ".jp2", ".jpf", ".jxl", ".jxr"]) | {
    *(".exr", ".hdr", ".pbm", ".pcx", ".pfm", ".pgm", ".pnm", ".ppm", ".psd", ".tga", ".xcf"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"),
}
"""The suffixes of image files in formats that are not read. Such files are named wherever a folder is searched."""

MAX_PIXELS = 128_000_000
"""Larger images are refused before they are decoded, since a file of some kilobytes can claim any size. Phones reach
108 million pixels."""

MAX_BYTES = 256 << 20
"""Larger files are not read. A protobuf message is limited to 2 GB, and every worker holds some images at a time."""

JPEG_QUALITY = 95

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes an image upright, by its EXIF orientation."""

_SOS, _EOI, _DRI = 0xDA, 0xD9, 0xDD

_SEGMENTS = frozenset([0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
"""The JPEG markers that start a segment with a length, of the kinds of JPEG that libjpeg decodes."""

# A marker ends a scan. FF 00 is a data byte FF, and the markers D0 to D7 restart the decoder.
_SCAN = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_SCAN_WITH_RESTARTS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


class ImageError(Exception):
    """The bytes are not a complete image. The message gives the reason in a few words, without the file's name."""


@dataclass(frozen=True)
class Prepared:
    """An image in the form that a record stores.

    Attributes:
        encoded: The bytes for the record.
        format: Their format, `jpeg` or `png`.
        width: Pixels, upright.
        height: Pixels, upright.
        stored_size: Width and height before the EXIF orientation was applied.
        why_encoded: The reason why the image was encoded again; empty if `encoded` are the file's own bytes.
        oriented: Whether an EXIF orientation was applied.
        frames: Number of frames in the file; the first one is used.
        bits: Bits of each channel in the file.
        patched: Whether it is a damaged JPEG that Pillow can decode. `encoded` then holds the decoded pixels.
        perceptual_hash: `HASH_BITS` bits; see `perceptual_hash.perceptual_hash`.
        sha256: SHA-256 of the file's bytes, in hex.
    """

    encoded: bytes
    format: str
    width: int
    height: int
    stored_size: tuple[int, int]
    why_encoded: str
    oriented: bool
    frames: int
    bits: int
    patched: bool
    perceptual_hash: int
    sha256: str


def about_unread(names: Sequence[str]) -> str:
    """A sentence about files with `UNREAD_SUFFIXES`, which names the first three; empty if there are none."""
    if not names:
        return ""
    first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    what, them = ("picture is", "it") if len(names) == 1 else ("pictures are", "them")
    return f"{len(names):,} {what} in a format that is not read ({first}): convert {them} to JPEG or PNG."


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises ImageError if it cannot be read, is not a file, or is larger than `MAX_BYTES`."""
    try:
        return read_plain_file(path, MAX_BYTES)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from None


def read_image(path: str | Path, advice: str = "") -> np.ndarray:
    """Read an image file as the training data are read: turned upright by its EXIF data, without alpha, first frame.

    Args:
        path: The file.
        advice: What the message of an error says after the reason.

    Returns:
        uint8 array of shape (height, width, 3), RGB.

    Raises:
        UserError: The file is missing, is no image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    try:
        return decode_image(read_bytes(Path(path)))
    except ImageError as error:
        raise UserError(f"{path}: {error}. {advice}".rstrip()) from None


def prepare_image(data: bytes) -> Prepared:
    """Decode an image completely, and return it in the form that a record stores.

    The bytes of a JPEG (grey or RGB) and of a PNG stay unchanged. These images are encoded again, once:
      - JPEG and TIFF with an EXIF orientation. They are turned upright, as labelImg shows them. (labelImg reads with
        Qt's `QImageReader.setAutoTransform`, which applies the orientation of these two formats.)
      - Damaged JPEG that can be decoded, since TensorFlow may refuse them.
      - CMYK JPEG, since decoders disagree on which end of its scale is dark.
      - GIF and WebP, which TensorFlow decodes to four dimensions; BMP and TIFF. Of several frames the first is used.
    A JPEG becomes a JPEG (quality 95, full colour resolution), any other image a PNG, which is lossless.

    Raises:
        ImageError: The bytes are not an image of the `FORMATS`, are cut off or damaged, or have more than `MAX_PIXELS`.
    """
    image, upright, orientation = _open(data)
    bits = _bits(image, data)
    oriented = orientation > 1
    kind = "jpeg" if image.format in ("JPEG", "MPO") else "png"
    patched = kind == "jpeg" and not _is_regular_jpeg(data)
    if oriented:
        why = "turned upright"
    elif patched:
        why = "irregular JPEG"
    elif image.mode == "CMYK":
        why = "CMYK"
    elif image.format not in ("JPEG", "MPO", "PNG"):
        why = str(image.format)
    else:
        why = ""
    rgb = to_rgb(upright)
    return Prepared(
        encoded=_encode(rgb, kind) if why else data,
        format=kind,
        width=rgb.width,
        height=rgb.height,
        stored_size=(rgb.height, rgb.width) if orientation > 4 else rgb.size,
        why_encoded=why,
        oriented=oriented,
        frames=_frames(image),
        bits=bits,
        patched=patched,
        perceptual_hash=perceptual_hash(rgb),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels, upright: uint8 array of shape (height, width, 3), RGB. Raises ImageError as `prepare_image` does."""
    return np.array(to_rgb(_open(data, max_pixels)[1]))


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB. Like the API, it drops alpha and keeps the upper 8 of 16 bits."""
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        # Floats have no fixed range: white is 1, or the brightest value if that is larger.
        values = np.nan_to_num(np.asarray(image))
        image = Image.fromarray((np.clip(values / max(float(values.max()), 1.0), 0, 1) * 255).round().astype(np.uint8))
    return image.convert("RGB")


def _open(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, Image.Image, int]:
    """Return the first frame, completely decoded, the same frame upright, and its EXIF orientation, 1 to 8."""
    try:
        with warnings.catch_warnings():
            # Pillow's own limit on pixels is only a warning; its other warnings are about metadata.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise ImageError(f"{image.width} x {image.height} pixels, the limit is {max_pixels:,}")
            if image.format == "PNG":
                _check_chunks(data)
            # Read before loading: Pillow turns a TIFF while it loads it.
            orientation = _orientation(image)
            image.load()
            turn = None if image.format == "TIFF" else _TURNS.get(orientation)
            return image, image if turn is None else image.transpose(turn), orientation
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image in a format that is read, or damaged at its start") from None
    except Image.DecompressionBombError:
        # Pillow raises this from twice its own limit on, before our limit is checked.
        raise ImageError(f"too many pixels, the limit is {max_pixels:,}") from None
    except struct.error:
        raise ImageError("cut off or damaged") from None
    except MemoryError:
        raise ImageError("does not fit into memory") from None
    except Exception as error:
        # On damaged files Pillow's decoders raise exceptions of any type. No code of this project runs inside them.
        raise ImageError(f"damaged ({str(error) or type(error).__name__})") from None


def _orientation(image: Image.Image) -> int:
    if image.format not in ("JPEG", "MPO", "TIFF"):
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:
        # EXIF data that cannot be parsed have no effect in Qt, and so none in labelImg.
        return 1
    return orientation if orientation in range(1, 9) else 1


def _frames(image: Image.Image) -> int:
    # The other pictures of an MPO show the same scene, smaller or for the other eye.
    if image.format == "MPO":
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(getattr(image, "n_frames", 1))
    except Exception:
        # Only later frames are damaged, and they are not used.
        return 1


def _check_chunks(data: bytes) -> None:
    """Check a PNG's checksums and its end, as libpng does in the API. Pillow accepts errors after the last pixel.

    The format: https://www.w3.org/TR/png-3/#5Chunk-layout.
    """
    place, kind = 8, b""
    while kind != b"IEND":
        [length] = struct.unpack_from(">I", data, place)
        kind = data[place + 4 : place + 8]
        [checksum] = struct.unpack_from(">I", data, place + 8 + length)
        if zlib.crc32(memoryview(data)[place + 4 : place + 8 + length]) != checksum:
            raise ImageError(f"damaged (wrong checksum in {kind!r})")
        place += 12 + length


def _is_regular_jpeg(data: bytes) -> bool:
    """Whether a JPEG's segments follow one another up to its end, without bytes in between or stray markers in a scan.

    The format: ITU-T T.81, annex B (https://www.w3.org/Graphics/JPEG/itu-t81.pdf).
    """
    place, restarts = 2, False
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # any number of fill bytes may stand before a marker
            place += 1
            continue
        if marker not in _SEGMENTS:
            return False
        [length] = struct.unpack_from(">H", data, place + 2)
        if marker == _DRI:
            restarts = data[place + 4 : place + 6] != b"\0\0"
        place += 2 + length
        if marker == _SOS:
            end = (_SCAN_WITH_RESTARTS if restarts else _SCAN).search(data, place)
            if end is None:
                return False
            place = end.start()
            if data[place + 1] == _EOI:
                return True
    return False


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        # IHDR, always the first chunk: signature (8), length and type (8), width, height (8), bit depth.
        # Pillow's mode does not show it: 16-bit colour has the mode RGB.
        return data[24]
    return 16 if image.mode in ("I", "F") or image.mode.startswith("I;16") else 8


def _encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Only the pixels are kept: an EXIF block would turn the image a second time.
    image.info.clear()
    if kind == "jpeg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()

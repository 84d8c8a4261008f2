"""The bytes of an image file: are they whole, what do they hold, and what of it goes into a record.

The API decodes with `tf.io.decode_image(channels=3)`. JPEG and PNG come out of it as they come out of Pillow, be they
grey, with a palette, of 16 bits (of which both take the upper 8) or with alpha (which both drop), so those bytes are
stored untouched. What it cannot decode, or decodes to something else than people see, is encoded anew: see `prepare`.
"""

import hashlib
import io
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = frozenset([".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"])
"""What counts as an image in a data set. What is in the file is looked up in the file."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""Pillow's decoders for `SUFFIXES` (MPO is among JPEG); a file is never handed to any other."""

MAX_PIXELS = 128_000_000
"""Larger images are refused before they are decoded: a file of some kilobytes can claim any size. Phones reach 108."""

MAX_BYTES = 256 << 20
"""Larger files are not read. A message of protobuf ends at 2 GB, and every worker holds some images at a time."""

JPEG_QUALITY = 95

HASH_BITS = 128

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright."""

_SOS, _EOI, _DRI = 0xDA, 0xD9, 0xDD

_SEGMENTS = frozenset([0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
"""The JPEG markers that start a segment with a length, of the kinds of JPEG that libjpeg decodes."""

# What ends a scan: a marker. FF 00 is a byte FF of the data, D0 to D7 restart the decoder.
_SCAN = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_SCAN_WITH_RESTARTS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


class ImageError(Exception):
    """Bytes that are no image, or not a whole one. The message says why, in a few words and without the file's name."""


@dataclass(frozen=True)
class Prepared:
    """An image as a record holds it.

    Attributes:
        encoded: The bytes that go into the record.
        format: What they are, `jpeg` or `png`.
        width: Pixels, upright.
        height: Pixels, upright.
        stored_size: Width and height before the EXIF orientation was applied.
        why_encoded: Why `encoded` is not what was in the file; empty where it is.
        oriented: An EXIF orientation was applied.
        frames: How many the file has; the first one is taken.
        bits: Bits a channel in the file.
        patched: A JPEG with damage that Pillow forgives; what it made of it is what is stored.
        looks: A perceptual hash of `HASH_BITS` bits; see `perceptual_hash`.
        sha256: Of the file's bytes, in hex.
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
    looks: int
    sha256: str


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises ImageError where it cannot be read, is no plain file, or is larger than `MAX_BYTES`."""
    try:
        # Asked before it is opened: opening a named pipe would wait for a writer for ever.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a file")
        if status.st_size > MAX_BYTES:
            raise ImageError(f"{status.st_size >> 20} MB, the limit is {MAX_BYTES >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from None


def prepare(data: bytes) -> Prepared:
    """Decode an image wholly, and give what a record should hold of it.

    Unchanged: JPEG (grey or RGB) and PNG. Encoded anew, once:
      - JPEG and TIFF with an EXIF orientation, turned upright, as labelImg shows them (it reads with Qt's
        `QImageReader.setAutoTransform`, which knows the orientation of these two);
      - JPEG that are damaged but decode, since TensorFlow may refuse them;
      - CMYK JPEG, since decoders disagree on which end of its scale is dark;
      - GIF and WebP, which TensorFlow decodes to four dimensions, BMP and TIFF; of several frames the first.
    A JPEG becomes a JPEG (quality 95, full colour resolution), anything else a PNG, which loses nothing.

    Raises:
        ImageError: Not an image of the `FORMATS`, cut off, damaged, or larger than `MAX_PIXELS`.
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
        looks=perceptual_hash(rgb),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels, upright: uint8 array of shape (height, width, 3), RGB. Raises ImageError as `prepare` does."""
    return np.array(to_rgb(_open(data, max_pixels)[1]))


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB: alpha dropped and of 16 bits the upper 8 taken, as the API does."""
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        # Floats have no range of their own: white is 1, or the brightest there is.
        values = np.nan_to_num(np.asarray(image))
        image = Image.fromarray((np.clip(values / max(float(values.max()), 1.0), 0, 1) * 255).round().astype(np.uint8))
    return image.convert("RGB")


def perceptual_hash(image: Image.Image) -> int:
    """A difference hash: which of two neighbours is brighter, along the rows of a 9 x 8 grid and down an 8 x 9 one.

    Scaling, recompression and small retouches change few of the `HASH_BITS` bits; see
    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html (there: the rows only).
    """
    grey = image.convert("L")
    rows = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    columns = np.asarray(grey.resize((8, 9), Image.Resampling.BOX), dtype=np.int16)
    bits = np.concatenate([(np.diff(rows, axis=1) > 0).ravel(), (np.diff(columns, axis=0) > 0).ravel()])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _open(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, Image.Image, int]:
    """The first frame, decoded to its end; the same upright; and its EXIF orientation, 1 to 8."""
    try:
        with warnings.catch_warnings():
            # Pillow's own limit on pixels only warns; its other warnings are about metadata.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise ImageError(f"{image.width} x {image.height} pixels, the limit is {max_pixels:,}")
            if image.format == "PNG":
                _check_chunks(data)
            # Asked before it is loaded: Pillow turns a TIFF while it loads it.
            orientation = _orientation(image)
            image.load()
            turn = None if image.format == "TIFF" else _TURNS.get(orientation)
            return image, image if turn is None else image.transpose(turn), orientation
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("not an image, or damaged at its start") from None
    except Image.DecompressionBombError:
        # Of twice Pillow's own limit and more, before ours is asked.
        raise ImageError(f"too many pixels, the limit is {max_pixels:,}") from None
    except struct.error:
        raise ImageError("cut off or damaged") from None
    except MemoryError:
        raise ImageError("does not fit into memory") from None
    except Exception as error:
        # On damaged files Pillow's decoders raise whatever they ran into; no code of ours runs in there.
        raise ImageError(f"damaged ({str(error) or type(error).__name__})") from None


def _orientation(image: Image.Image) -> int:
    if image.format not in ("JPEG", "MPO", "TIFF"):
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:
        # EXIF data that cannot be parsed turn nothing: not in Qt, so not in labelImg.
        return 1
    return orientation if orientation in range(1, 9) else 1


def _frames(image: Image.Image) -> int:
    # The other pictures of an MPO are the same one, smaller or from another eye.
    if image.format == "MPO":
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(getattr(image, "n_frames", 1))
    except Exception:
        # The frames behind the first are damaged, which does not matter.
        return 1


def _check_chunks(data: bytes) -> None:
    """Hold a PNG to its checksums and its end, as libpng does in the API; Pillow forgives where it has all pixels.

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
    """Whether a JPEG's segments follow one another to its end, with nothing in between and no stray marker in a scan.

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
        # Pillow's mode does not tell: 16-bit colour is RGB to it.
        return data[24]
    return 16 if image.mode in ("I", "F") or image.mode.startswith("I;16") else 8


def _encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Nothing but pixels: an EXIF block that stayed would turn the image a second time.
    image.info.clear()
    if kind == "jpeg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()

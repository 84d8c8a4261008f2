import io
import itertools
import struct
import time
import zlib
from pathlib import Path

import made_data
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from facemask.data import images
from facemask.data.images import ImageError
from facemask.data.perceptual_hash import perceptual_hash

PICTURE = made_data.picture(1)
SIXTEEN = Image.fromarray((np.arange(48 * 64).reshape(48, 64) * 21).astype(np.uint16))


def with_alpha() -> Image.Image:
    image = PICTURE.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def cmyk() -> bytes:
    return made_data.encoded(PICTURE.convert("CMYK"))


AS_THEY_ARE = {
    "jpeg": made_data.encoded(PICTURE),
    "progressive jpeg": made_data.encoded(PICTURE, progressive=True),
    "jpeg with restarts": made_data.encoded(PICTURE, restart_marker_blocks=1),
    "grey jpeg": made_data.encoded(PICTURE.convert("L")),
    "png": made_data.encoded(PICTURE, "PNG"),
    "png with alpha": made_data.encoded(with_alpha(), "PNG"),
    "grey png": made_data.encoded(PICTURE.convert("L"), "PNG"),
    "grey png with alpha": made_data.encoded(with_alpha().convert("LA"), "PNG"),
    "palette": made_data.encoded(PICTURE.quantize(50), "PNG"),
    "palette with a transparent colour": made_data.encoded(PICTURE.quantize(50), "PNG", transparency=3),
    "black and white": made_data.encoded(PICTURE.convert("1"), "PNG"),
    "16-bit grey": made_data.encoded(SIXTEEN, "PNG"),
}

ANEW = {
    "cmyk": (cmyk(), "jpeg"),
    "gif": (made_data.encoded(PICTURE, "GIF"), "png"),
    "bmp": (made_data.encoded(PICTURE, "BMP"), "png"),
    "webp": (made_data.encoded(PICTURE, "WEBP", lossless=True), "png"),
    "tiff": (made_data.encoded(PICTURE, "TIFF"), "png"),
    "16-bit tiff": (made_data.encoded(SIXTEEN, "TIFF"), "png"),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_bytes_that_the_api_can_decode_stay(name: str):
    data = AS_THEY_ARE[name]
    prepared = images.prepare_image(data)
    assert prepared.encoded is data
    assert prepared.why_encoded == ""
    assert prepared.format == ("jpeg" if "jpeg" in name else "png")
    assert (prepared.width, prepared.height) == (64, 48)
    assert prepared.bits == (16 if "16" in name else 1 if name == "black and white" else 8)


@pytest.mark.parametrize("name", ANEW)
def test_others_are_encoded_anew(name: str):
    data, kind = ANEW[name]
    prepared = images.prepare_image(data)
    assert prepared.why_encoded
    assert prepared.format == kind == Image.open(io.BytesIO(prepared.encoded)).format.lower()
    difference = np.abs(images.decode_image(prepared.encoded).astype(int) - images.decode_image(data))
    # A PNG loses nothing, a JPEG of quality 95 next to nothing.
    assert difference.max() == 0 if kind == "png" else difference.mean() < 2
    assert images.prepare_image(prepared.encoded).encoded is prepared.encoded


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_orientation_is_applied_once(orientation: int, kind: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = made_data.encoded(PICTURE, kind, exif=exif)
    prepared = images.prepare_image(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert prepared.oriented == (orientation > 1)
    assert (prepared.height, prepared.width) == expected.shape[:2]
    assert prepared.stored_size == (64, 48)
    assert np.abs(images.decode_image(prepared.encoded).astype(int) - expected).mean() < 2
    assert not images.prepare_image(prepared.encoded).oriented
    if orientation == 1 and kind == "JPEG":
        assert prepared.encoded is data


def test_orientation_of_a_png_does_not_count_as_in_labelimg():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = made_data.encoded(PICTURE, "PNG", exif=exif)
    assert images.prepare_image(data).encoded is data
    assert images.decode_image(data).shape == (48, 64, 3)


def test_first_frame_of_an_animation():
    data = made_data.encoded(PICTURE, "GIF", save_all=True, append_images=[made_data.picture(2), made_data.picture(3)])
    prepared = images.prepare_image(data)
    assert prepared.frames == 3
    assert np.array_equal(images.decode_image(prepared.encoded), images.decode_image(data))
    assert np.abs(images.decode_image(data).astype(int) - np.asarray(PICTURE)).mean() < 10


def test_16_bits_keep_the_upper_8():
    assert np.array_equal(images.decode_image(AS_THEY_ARE["16-bit grey"])[..., 0], np.asarray(SIXTEEN) >> 8)
    floats = made_data.encoded(Image.fromarray(np.array([[0.0, 0.5, np.nan, np.inf]], dtype=np.float32)), "TIFF")
    assert images.decode_image(floats)[0, :3, 0].tolist()[0] == 0


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "grey jpeg", "png", "palette", "16-bit grey"])
def test_cut_off_files_are_found_at_every_length(name: str):
    data = AS_THEY_ARE[name]
    for length in [*range(0, len(data) - 2, 37), len(data) - 3]:
        try:
            prepared = images.prepare_image(data[:length])
        except ImageError:
            continue
        # A JPEG may have lost less than shows; then it is said, and not stored as it is.
        assert prepared.patched, length
        assert prepared.encoded != data[:length]
        assert length > len(data) * 0.6


def test_a_stray_marker_in_a_jpeg_is_seen():
    data = AS_THEY_ARE["jpeg"]
    forgiven = 0
    places = range(data.index(b"\xff\xda") + 20, len(data) - 4, 5)
    for place, marker in itertools.product(places, (b"\xff\x01", b"\xff\xd0", b"\xff\xe0")):
        try:
            prepared = images.prepare_image(data[:place] + marker + data[place + 2 :])
        except ImageError:
            continue
        forgiven += 1
        assert prepared.patched
        assert not images.prepare_image(prepared.encoded).patched
    assert forgiven


def test_decompression_bombs_are_refused_before_they_grow():
    def png(width: int, height: int) -> bytes:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")

    begin = time.monotonic()
    for width, height in ((50_000, 50_000), (2**31 - 1, 1), (images.MAX_PIXELS + 1, 1)):
        with pytest.raises(ImageError):
            images.prepare_image(png(width, height))
    assert time.monotonic() - begin < 5


def test_only_the_formats_of_photographs_are_decoded():
    for kind in ("PPM", "ICO", "TGA", "PCX"):
        with pytest.raises(ImageError):
            images.prepare_image(made_data.encoded(PICTURE, kind))
    for data in (b"", b"hello", b"<svg/>", b"%PDF-1.4", b"\xff\xd8\xff"):
        with pytest.raises(ImageError):
            images.prepare_image(data)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a.jpg").write_bytes(b"123")
    with pytest.raises(ImageError):
        images.read_bytes(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError):
        images.read_bytes(tmp_path / "missing.jpg")
    monkeypatch.setattr(images, "MAX_BYTES", 2)
    with pytest.raises(ImageError):
        images.read_bytes(tmp_path / "a.jpg")


def damaged(data: st.DataObject, original: bytes) -> bytes:
    """The file with some bits flipped, its end cut off, or both."""
    content = bytearray(original)
    # Headers hold most of what can go wrong, the pixels most of the bytes.
    places = st.integers(0, len(content) - 1) | st.integers(0, min(200, len(content) - 1))
    for place in data.draw(st.lists(places, max_size=5)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_images_are_decoded_or_refused(data: st.DataObject):
    every = {**AS_THEY_ARE, **{name: content for name, (content, _) in ANEW.items()}}
    content = damaged(data, every[data.draw(st.sampled_from(sorted(every)))])
    try:
        prepared = images.prepare_image(content)
    except ImageError as error:
        assert str(error)
    else:
        assert images.decode_image(prepared.encoded).shape == (prepared.height, prepared.width, 3)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tensorflow_decodes_all_that_is_stored(data: st.DataObject):
    import tensorflow as tf

    every = {**AS_THEY_ARE, **{name: content for name, (content, _) in ANEW.items()}}
    name = data.draw(st.sampled_from(sorted(every)))
    content = data.draw(st.just(every[name]) | st.just(damaged(data, every[name])))
    try:
        prepared = images.prepare_image(content)
    except ImageError:
        return
    decoded = tf.io.decode_image(prepared.encoded, channels=3).numpy()
    assert decoded.shape == (prepared.height, prepared.width, 3)
    if content == every[name]:
        difference = np.abs(decoded.astype(int) - images.decode_image(prepared.encoded))
        # TensorFlow's JPEG decoder computes the DCT with fewer bits.
        assert difference.max() == 0 if prepared.format == "png" else difference.mean() < 3


def test_perceptual_hash_knows_a_picture_again_and_others_apart():
    def distance(one: Image.Image, other: Image.Image) -> int:
        return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()

    again = Image.open(io.BytesIO(made_data.encoded(PICTURE.resize((160, 120)), quality=40)))
    assert distance(PICTURE, again) <= 8
    assert min(distance(PICTURE, made_data.picture(seed)) for seed in range(2, 30)) > 25

"""Write and read TFRecord files without TensorFlow.

The format (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details): each record is its length
(uint64), the masked CRC-32C of the length, the data, the masked CRC-32C of the data, all little-endian.
"""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from facemask.core.errors import UserError

_BLOCK = 1024
_POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), bits reversed: RFC 3720, appendix B.4."""


def frame_record(data: bytes) -> bytes:
    """Frame `data` as one record of a TFRecord file: add its length and the checksums."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", _masked(length)), data, struct.pack("<I", _masked(data))))


def read_tfrecord(path: Path) -> Iterator[bytes]:
    """Yield the records of a file and check their checksums.

    Raises:
        UserError: The file cannot be read, or is cut off or damaged.
    """
    damaged = UserError(f"{path}: cut off or damaged. Make the records again.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while head := file.read(12):
                if len(head) < 12 or struct.unpack("<I", head[8:])[0] != _masked(head[:8]):
                    raise damaged
                [length] = struct.unpack("<Q", head[:8])
                # Checked before reading: a damaged length could be huge.
                if length > size:
                    raise damaged
                data, tail = file.read(length), file.read(4)
                if len(data) < length or len(tail) < 4 or struct.unpack("<I", tail)[0] != _masked(data):
                    raise damaged
                yield data
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Make the records again.") from None


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`.

    The register is linear in the bytes, so whole blocks are computed at once: the table entries of all bytes are XORed,
    and the registers of the blocks are combined by shifting each past the bytes behind it. This reaches about 200 MB/s
    without another package.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    if not data:
        return 0
    table, shift = _tables()
    # An initial register of ones is the same as inverting the first four bytes (or all bytes of shorter data).
    padded = np.zeros(-(-max(len(data), 4) // _BLOCK) * _BLOCK, dtype=np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, dtype=np.uint8)
    ones = padded[start : start + 4]
    np.invert(ones, out=ones)
    register = 0
    places = np.arange(_BLOCK)
    # The padding is in front of the data, where zeros leave the register at zero.
    for block in np.bitwise_xor.reduce(table[places, padded.reshape(-1, _BLOCK)], axis=1).tolist():
        register = (
            shift[0][register & 0xFF]
            ^ shift[1][register >> 8 & 0xFF]
            ^ shift[2][register >> 16 & 0xFF]
            ^ shift[3][register >> 24]
            ^ block
        )
    # With less than four bytes of data, the remaining ones are still in the register, shifted by the data's length.
    rest = 0xFFFFFFFF >> (8 * len(data)) if len(data) < 4 else 0
    return register ^ rest ^ 0xFFFFFFFF


def _masked(data: bytes) -> int:
    """The CRC as TensorFlow stores it: rotated and offset, since the CRC of data that contain CRCs is weak."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _tables() -> tuple[np.ndarray, list[list[int]]]:
    """What a byte at each place of a block leaves in the register, and what a block of zeros makes of a register."""
    step: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        step = step >> 1 ^ (step & 1) * np.uint32(_POLYNOMIAL)
    table = np.empty((_BLOCK, 256), dtype=np.uint32)
    table[-1] = step
    for place in range(_BLOCK - 2, -1, -1):
        table[place] = table[place + 1] >> 8 ^ step[table[place + 1] & 0xFF]
    # A register's four bytes meet the first four places of the next block.
    return table, [table[place].tolist() for place in range(4)]

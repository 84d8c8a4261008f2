"""A perceptual hash of a picture, and the groups of pictures that look alike by it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

HASH_BITS = 128

MAX_DISTANCE = 10
"""Bits of `HASH_BITS` in which the hashes of two look-alikes may differ. Of the 294,000 pairs of the public data set 15
are that near: copies, one of them with a watermark, and scenes that were taken twice within seconds. The pairs that
differ in up to 22 bits are of the same kinds; pictures of different scenes differ in more."""


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


def look_alikes(hashes: Sequence[int], distance: int = MAX_DISTANCE) -> list[list[int]]:
    """Find the groups of hashes of which each differs from some other in at most `distance` bits.

    Two hashes that differ in d bits agree wholly in one of d + 1 pieces (the pigeonhole principle). So only those that
    share a piece are compared. A piece's bits are spread over the hash, because neighbouring bits are often equal: in
    pictures with a black margin, a piece of neighbours would be the same in all. What was found near another is not
    compared with the rest again, so the time grows with the number of hashes in footage too, where all are alike.

    Args:
        hashes: Of `HASH_BITS` bits each.
        distance: The largest Hamming distance of a pair.

    Returns:
        Groups of two and more indices of `hashes`, ascending.

    Example:
        >>> look_alikes([0b0, 0b1, 2**100 - 1], distance=1)
        [[0, 1]]
    """
    parent = list(range(len(hashes)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    # Equal hashes first, once: a folder of blank images would make every pair a candidate.
    first: dict[int, int] = {}
    for index, value in enumerate(hashes):
        parent[index] = first.setdefault(value, index)
    for piece in range(distance + 1):
        mask = sum(1 << bit for bit in range(piece, HASH_BITS, distance + 1))
        sharing: dict[int, list[int]] = {}
        for value, index in first.items():
            sharing.setdefault(value & mask, []).append(index)
        for left in sharing.values():
            while left:
                waiting = [left.pop()]
                while waiting:
                    one = waiting.pop()
                    near = {other for other in left if (hashes[one] ^ hashes[other]).bit_count() <= distance}
                    if near:
                        left = [other for other in left if other not in near]
                        waiting += near
                    for other in near:
                        parent[find(other)] = find(one)
    groups: dict[int, list[int]] = {}
    for index in range(len(hashes)):
        groups.setdefault(find(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]

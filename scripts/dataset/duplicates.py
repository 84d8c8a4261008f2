"""Pictures that look the same, by their perceptual hashes."""

import functools
import itertools
from collections.abc import Sequence

from scripts.dataset.images import HASH_BITS

MAX_DISTANCE = 10
"""Bits of `HASH_BITS` in which two hashes of the same picture may differ. Of the 294,000 pairs of the public data set
15 are that near: copies, one of them with a watermark, and scenes that were taken twice within seconds. So are those
of up to 22 bits; no two different scenes are nearer than that."""


def groups(hashes: Sequence[int], distance: int = MAX_DISTANCE) -> list[list[int]]:
    """Find the groups of hashes of which each differs from some other in at most `distance` bits.

    Two hashes that differ in d bits agree wholly in one of d + 1 pieces (the pigeonhole principle), so only those that
    share a piece are compared, and the time grows little faster than the number of hashes.

    Args:
        hashes: Of `HASH_BITS` bits each.
        distance: The largest Hamming distance of a pair.

    Returns:
        Groups of two and more places in `hashes`, ascending.

    Example:
        >>> groups([0b0, 0b1, 2**100 - 1], distance=1)
        [[0, 1]]
    """
    leader = list(range(len(hashes)))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = place = leader[leader[place]]
        return place

    # Equal hashes first, once: a folder of blank images would make every pair a candidate.
    first: dict[int, int] = {}
    for place, value in enumerate(hashes):
        leader[place] = first.setdefault(value, place)
    edges = [HASH_BITS * piece // (distance + 1) for piece in range(distance + 2)]
    for low, high in itertools.pairwise(edges):
        piece = functools.partial(_bits, hashes, low, high)
        for _, group in itertools.groupby(sorted(first.values(), key=piece), key=piece):
            places = list(group)
            for number, place in enumerate(places):
                for other in places[:number]:
                    if (hashes[place] ^ hashes[other]).bit_count() <= distance:
                        leader[find(place)] = find(other)
    found: dict[int, list[int]] = {find(place): [] for place in range(len(hashes)) if find(place) != place}
    for place in range(len(hashes)):
        if find(place) in found:
            found[find(place)].append(place)
    return sorted(found.values())


def _bits(hashes: Sequence[int], low: int, high: int, place: int) -> int:
    return hashes[place] >> low & (1 << high - low) - 1

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from facemask.data.perceptual_hash import HASH_BITS, look_alikes


def by_pairs(hashes: list[int], distance: int) -> list[list[int]]:
    groups = [{index} for index in range(len(hashes))]
    for one, other in itertools.combinations(range(len(hashes)), 2):
        if (hashes[one] ^ hashes[other]).bit_count() <= distance:
            first, second = (next(g for g in groups if index in g) for index in (one, other))
            if first is not second:
                groups.remove(second)
                first |= second
    return sorted(sorted(group) for group in groups if len(group) > 1)


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_the_same_as_comparing_every_pair(rng: random.Random, distance: int):
    hashes = [rng.getrandbits(HASH_BITS) for _ in range(4)]
    for _ in range(20):
        flips = rng.sample(range(HASH_BITS), rng.randrange(distance + 3))
        hashes.append(rng.choice(hashes) ^ sum(1 << bit for bit in flips))
    assert look_alikes(hashes, distance) == by_pairs(hashes, distance)


def test_ten_thousand_blank_images_take_no_time():
    assert look_alikes([0] * 10_000) == [list(range(10_000))]
    assert look_alikes([]) == []


class CountedHash(int):
    """A hash that counts with how many others it was compared."""

    compared = 0

    def __xor__(self, other: int) -> int:
        CountedHash.compared += 1
        return int(self) ^ int(other)


def footage(frames: int, rng: random.Random) -> list[CountedHash]:
    """Hashes of a fixed camera's frames: each differs from some background in a few bits."""
    backgrounds = [rng.getrandbits(HASH_BITS) for _ in range(3)]
    flips = (sum(1 << bit for bit in rng.sample(range(HASH_BITS), 5)) for _ in range(frames))
    return [CountedHash(rng.choice(backgrounds) ^ flip) for flip in flips]


def letterboxed(pictures: int, rng: random.Random) -> list[CountedHash]:
    """Hashes of different pictures with black bars above and below: the first and the last rows do not vary."""
    bars = sum(0b11111111 << 8 * row for row in (0, 1, 6, 7, 8, 9, 14, 15))
    return [CountedHash(rng.getrandbits(HASH_BITS) & ~bars) for _ in range(pictures)]


def comparisons(hashes: list[CountedHash]) -> int:
    CountedHash.compared = 0
    look_alikes(hashes)
    return CountedHash.compared


def test_four_times_the_footage_takes_far_less_than_sixteen_times_the_comparisons():
    few, many = (comparisons(footage(frames, random.Random(0))) for frames in (500, 2000))
    assert many < 6 * few


def test_a_black_margin_does_not_make_every_pair_a_candidate():
    assert comparisons(letterboxed(2000, random.Random(0))) < 0.3 * 2000**2 / 2

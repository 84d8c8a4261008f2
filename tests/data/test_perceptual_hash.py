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

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemask.core.errors import UserError
from facemask.data import tfrecord


def crc32c_by_the_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_crc_of_the_standard():
    # RFC 3720, appendix B.4.
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA
    assert tfrecord.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert tfrecord.crc32c(bytes(range(32))) == 0x46DD794E


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40) | st.integers(1015, 2100).flatmap(lambda n: st.binary(min_size=n, max_size=n)))
def test_crc_by_blocks_is_that_by_the_bit(data: bytes):
    assert tfrecord.crc32c(data) == crc32c_by_the_bit(data)


def test_tensorflow_reads_it(tmp_path: Path):
    import tensorflow as tf

    records = [b"", b"a", bytes(5000), bytes(range(256)) * 9]
    path = tmp_path / "a.record"
    path.write_bytes(b"".join(map(tfrecord.frame_record, records)))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == records
    with tf.io.TFRecordWriter(str(tmp_path / "b.record")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "b.record").read_bytes() == path.read_bytes()
    assert list(tfrecord.read_tfrecord(tmp_path / "b.record")) == records


def test_damage_is_found(tmp_path: Path):
    whole = tfrecord.frame_record(b"one") + tfrecord.frame_record(b"two" * 50)
    path = tmp_path / "a.record"
    ends = (0, len(tfrecord.frame_record(b"one")), len(whole))
    for length in set(range(len(whole))) - set(ends):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.record"):
            list(tfrecord.read_tfrecord(path))
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"a\.record"):
            list(tfrecord.read_tfrecord(path))
    with pytest.raises(UserError, match=r"missing\.record"):
        list(tfrecord.read_tfrecord(tmp_path / "missing.record"))

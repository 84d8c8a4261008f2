import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import loopback_server
import pytest
import standin
from file_limit import files_of_at_most

from facemask.core.errors import UserError
from facemask.tfod import model_zoo

ROOT = Path(__file__).parents[2]
NAME = "tiny_model.tar.gz"
NOWHERE = f"https://127.0.0.1:1/{NAME}"  # nothing listens on port 1


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """An archive laid out as the zoo's, with a checkpoint of half a megabyte."""
    return make_archive(tmp_path_factory.mktemp("tiny"), seed=0)


def make_archive(folder, seed, name="tiny_model", attribute="model"):
    from facemask.tfod import compat

    compat.install()
    import numpy as np
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(seed).normal(size=(250, 500)).astype(np.float32))
    top = folder / name
    tf.train.Checkpoint(**{attribute: module}).write(str(top / "checkpoint" / "ckpt-0"))
    (top / "pipeline.config").write_text("model {}")
    return standin.pack(top)


@pytest.fixture
def server(tiny):
    with loopback_server.serve_file(tiny.archive.read_bytes(), NAME) as serving:
        yield serving


def fetch(server, digest, into, **options):
    options = {"retries": 0, "timeout": 5, "report": lambda line: None} | options
    return model_zoo.fetch_archive(server.address, digest, into, loopback=True, **options)


def files(folder):
    """The visible files below a folder; the lock is not one."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


COMPLETE = [
    "tiny_model.tar.gz",
    "tiny_model/checkpoint/ckpt-0.data-00000-of-00001",
    "tiny_model/checkpoint/ckpt-0.index",
    "tiny_model/pipeline.config",
]


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# --- the table -----------------------------------------------------------------------------------------------------


def test_table_has_the_models_that_the_project_promises():
    models = model_zoo.read_models(ROOT / "configs" / model_zoo.MODELS)
    assert list(models) == [
        "ssd_resnet50_v1_fpn_640x640",
        "ssd_mobilenet_v2_fpnlite_320x320",
        "ssd_mobilenet_v2_fpnlite_640x640",
        "efficientdet_d0_512x512",
    ]
    for name, model in models.items():
        assert model.archive.startswith("https://download.tensorflow.org/models/object_detection/tf2/20200711/")
        assert name.endswith(f"{model.size}x{model.size}")
    default = models["ssd_resnet50_v1_fpn_640x640"]
    assert default.index_sha256 == "e323b7b1deca50071f4f83cb2d3b561f49960edc28cc65c4f40a95236bf40545"
    assert default.template.is_file()
    assert model_zoo.find_model("efficientdet_d0_512x512", ROOT / "configs" / model_zoo.MODELS).size == 512


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(UserError) as error:
        model_zoo.find_model("yolo", ROOT / "configs" / model_zoo.MODELS)
    assert "MODEL=yolo" in one_line(error)
    assert "efficientdet_d0_512x512" in str(error.value)


ROW = "- {name: a, archive: 'https://x/a.tar.gz', size: 64, template: a.config.j2, index_sha256: null}\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- {name: a", "YAML"),
        ("name: a", "list"),
        ("- a", "list"),
        (ROW + ROW, "two models named a"),
        (ROW.replace("size: 64", "sise: 64"), "sise"),
        (ROW.replace("size: 64", "size: big"), "size"),
        (ROW.replace("size: 64", "size: true"), "size"),
        (ROW.replace("name: a,", "name: 3,"), "name"),
        (ROW.replace("null", "abc"), "index_sha256"),
        (ROW.replace("null", "E" * 64), "index_sha256"),
        (ROW.replace("null", "null, head_depth: 0"), "head_depth"),
        (ROW.replace("null", "null, head_layers: many"), "head_layers"),
        (ROW.replace("null", "null, heads: 2"), "heads"),
    ],
)
def test_broken_table_is_refused_with_what_is_wrong(tmp_path, text, named):
    table = tmp_path / "models.yaml"
    table.write_text(text)
    with pytest.raises(UserError) as error:
        model_zoo.read_models(table)
    assert str(table) in one_line(error)
    assert named in str(error.value)


# --- downloading ---------------------------------------------------------------------------------------------------


def test_fetch_brings_the_checkpoint_once(server, tiny, tmp_path):
    prefix = fetch(server, tiny.index_sha256, tmp_path)
    assert prefix == tmp_path / "tiny_model" / "checkpoint" / "ckpt-0"
    assert files(tmp_path) == COMPLETE  # saved_model/ of the archive is left out
    assert fetch(server, tiny.index_sha256, tmp_path) == prefix
    assert server.asked == 1


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        (f"http://download.tensorflow.org/{NAME}", False),
        (f"http://download.tensorflow.org/{NAME}", True),
        (f"http://127.0.0.1:80/{NAME}", False),
        (f"http://127.0.0.1@example.org/{NAME}", True),
        (f"http://127.0.0.1.example.org/{NAME}", True),
        ("file:///etc/a.tar.gz", True),
        ("https://example.org/", False),
        ("https://example.org/..tar.gz", False),
        ("https://example.org/a.zip", False),
    ],
)
def test_only_https_addresses_of_archives_are_asked(tmp_path, address, loopback):
    with pytest.raises(UserError) as error:
        model_zoo.fetch_archive(address, None, tmp_path, loopback=loopback)
    assert address in one_line(error)


def test_disk_that_takes_no_more_leaves_nothing_unpacked(tiny, tmp_path):
    shutil.copy(tiny.archive, tmp_path / NAME)
    with files_of_at_most(100_000), pytest.raises(UserError):
        model_zoo.fetch_archive(NOWHERE, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == [NAME]


# --- accepting -----------------------------------------------------------------------------------------------------


def test_wrong_digest_names_both_and_removes_the_download(server, tiny, tmp_path):
    with pytest.raises(UserError) as error:
        fetch(server, "a" * 64, tmp_path)
    assert tiny.index_sha256 in one_line(error)
    assert "a" * 64 in str(error.value)
    assert files(tmp_path) == []


def corrupted(archive, suffix, at=1000):
    """The archive's bytes with one bit flipped in the content of one member, whole otherwise."""
    out = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as new:
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""
            if member.name.endswith(suffix):
                content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            new.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_data_that_does_not_match_the_index_is_refused(server, tiny, tmp_path):
    server.body = corrupted(tiny.archive, ".data-00000-of-00001")
    with pytest.raises(UserError) as error:
        fetch(server, tiny.index_sha256, tmp_path)  # the index is right, so its digest is
    assert "model/kernel" in one_line(error)
    assert "hecksum" in str(error.value)
    assert files(tmp_path) == []


def test_unpacked_checkpoint_that_was_damaged_is_unpacked_again(server, tiny, tmp_path):
    prefix = fetch(server, tiny.index_sha256, tmp_path)
    data = prefix.with_name("ckpt-0.data-00000-of-00001")
    good = data.read_bytes()
    for damage in (good[:-100_000], good[:5] + b"?" + good[6:], None):
        data.unlink()
        if damage is not None:
            data.write_bytes(damage)
        told = []
        fetch(server, tiny.index_sha256, tmp_path, report=told.append)
        assert "unpacked again" in told[0]
        assert data.read_bytes() == good
    assert server.asked == 1


def test_archive_put_there_by_hand_needs_no_network(tiny, tmp_path):
    shutil.copy(tiny.archive, tmp_path / NAME)
    model_zoo.fetch_archive(NOWHERE, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == COMPLETE


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\x1f\x8b", gzip.compress(b"no tar" * 1000)],
    ids=["empty", "a page", "cut off", "no tar in it"],  # else gzip's time would be part of a test's name
)
def test_archive_put_there_by_hand_that_is_none_stays(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError) as error:
        model_zoo.fetch_archive(NOWHERE, "0" * 64, tmp_path)
    assert str(tmp_path / NAME) in one_line(error)
    assert NOWHERE in str(error.value)
    assert files(tmp_path) == [NAME]


def test_first_digest_is_recorded_said_and_kept_to(server, tiny, tmp_path):
    told = []
    prefix = fetch(server, None, tmp_path, report=told.append)
    assert len(told) == 1
    assert tiny.index_sha256 in told[0]
    record = tmp_path / "tiny_model.json"
    assert json.loads(record.read_text())["index_sha256"] == tiny.index_sha256

    told.clear()
    assert fetch(server, None, tmp_path, report=told.append) == prefix
    assert told == []
    (tmp_path / NAME).unlink()
    shutil.rmtree(tmp_path / "tiny_model")
    other = make_archive(tmp_path / "made", seed=1)
    server.body = other.archive.read_bytes()
    other.archive.unlink()
    with pytest.raises(UserError) as error:
        fetch(server, None, tmp_path)
    assert tiny.index_sha256 in one_line(error)
    assert other.index_sha256 in str(error.value)
    assert files(tmp_path) == ["tiny_model.json"]

    record.write_text("{}")
    with pytest.raises(UserError, match=r"tiny_model\.json"):
        fetch(server, None, tmp_path)


# --- hostile archives ----------------------------------------------------------------------------------------------


def member(name, content=b"x", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def link(name, target, kind=tarfile.SYMTYPE):
    return member(name, b"", type=kind, linkname=target)


def sparse_archive():
    """A member that says it is a terabyte of zeros, in GNU's old sparse format."""
    info = tarfile.TarInfo("m/checkpoint/ckpt-0.data-00000-of-00001")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:398] = b"00000000000\0"
    header[398:410] = b"00000000000\0"
    header[483:495] = b"77777777777\0"
    header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
    return gzip.compress(bytes(header) + bytes(1024))


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([member("/tmp/ckpt-0.index")], "out of the folder"),
        ([member("m/../../ckpt-0.index")], "out of the folder"),
        ([member("m/../../../etc/cron.d/job")], "out of the folder"),
        ([link("m/checkpoint", "/etc")], "not a plain file"),
        ([link("m/ckpt-0.index", "/etc/passwd")], "not a plain file"),
        ([link("m/ckpt-0.index", "m/other", tarfile.LNKTYPE)], "not a plain file"),
        ([member("m/ckpt-0.index", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5)], "not a plain file"),
        ([member("m/ckpt-0.index", b"", type=tarfile.FIFOTYPE)], "not a plain file"),
        ([member("m/ckpt-0.index"), member("n/ckpt-0.index")], "more than once"),
        ([member(f"m/{number}") for number in range(1001)], "more than 1000 files"),
        ([member("m/zeros", bytes(3_000_000))], "more than 2.0 MB"),
        ([member("m/zeros", pax_headers={"comment": "0" * 3_000_000})], "more than 2.0 MB"),
        ([member("m/readme")], "no checkpoint"),
        ([member("m/saved_model/variables/variables.index")], "no checkpoint"),
        ([member("m/model.ckpt.index")], "no checkpoint"),
        ([member("m/checkpoint/ckpt-0.index", b"no index")], "is damaged"),
        (None, "not a plain file"),
    ],
)
def test_hostile_archive_is_refused_and_leaves_nothing(tmp_path, monkeypatch, members, told):
    monkeypatch.setattr(model_zoo, "_LARGEST", 2_000_000)
    into = tmp_path / "pretrained"
    into.mkdir()
    if members is None:
        (into / NAME).write_bytes(sparse_archive())
    else:
        with tarfile.open(into / NAME, "w:gz", format=tarfile.PAX_FORMAT) as tar:
            for info, content in members:
                tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UserError) as error:
        model_zoo.fetch_archive(NOWHERE, None, into)
    assert told in one_line(error)
    assert files(tmp_path) == [f"pretrained/{NAME}"]


def test_archive_cut_or_changed_anywhere_ends_in_one_line(tiny, tmp_path):
    whole = gzip.compress(gzip.decompress(tiny.archive.read_bytes()), 6, mtime=0)
    size = len(whole)
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / NAME
    accepted = 0
    for step in range(40):
        at = 10 + step * (size - 10) // 40
        for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]):
            archive.write_bytes(broken)
            try:
                prefix = model_zoo.fetch_archive(NOWHERE, tiny.index_sha256, tmp_path / "in")
            except UserError as error:
                assert "\n" not in str(error)
                assert files(tmp_path / "in") == [NAME]
            else:
                # A flipped bit where nothing is that a checkpoint needs.
                accepted += 1
                assert hashlib.sha256(prefix.with_name("ckpt-0.index").read_bytes()).hexdigest() == tiny.index_sha256
                shutil.rmtree(tmp_path / "in" / "tiny_model")
    assert accepted < 10


# --- CHECKPOINT= ---------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tiny):
    return model_zoo.ZooModel("tiny", NOWHERE, 64, Path("none"), tiny.index_sha256)


def test_none_and_zoo(tiny, model, tmp_path):
    assert model_zoo.resolve_checkpoint("none", model, tmp_path) is None
    with pytest.raises(UserError, match=r"CHECKPOINT=ready.*CHECKPOINT=none"):
        model_zoo.resolve_checkpoint("zoo", model, tmp_path)
    shutil.copy(tiny.archive, tmp_path / NAME)
    assert model_zoo.resolve_checkpoint("zoo", model, tmp_path) == tmp_path / "tiny_model" / "checkpoint" / "ckpt-0"


def test_the_working_folder_can_be_the_checkpoint(tiny, model, tmp_path, monkeypatch):
    shutil.copy(tiny.archive, tmp_path / NAME)
    found = model_zoo.resolve_checkpoint("zoo", model, tmp_path)
    monkeypatch.chdir(found.parent)
    assert model_zoo.resolve_checkpoint(".", model, tmp_path).name == "ckpt-0"
    with pytest.raises(UserError, match="/"):
        model_zoo.resolve_checkpoint("/", model, tmp_path)


@pytest.fixture
def folder(tiny, tmp_path):
    """A folder whose name has all that a path can have, with an unpacked archive."""
    place = tmp_path / 'it\'s "my" $(model) ü'
    place.mkdir()
    shutil.copy(tiny.archive, place / NAME)
    model_zoo.fetch_archive(NOWHERE, tiny.index_sha256, place)
    return place / "tiny_model"


def test_folder_prefix_and_index_are_found(folder, model, tmp_path):
    prefix = folder / "checkpoint" / "ckpt-0"
    for given in (folder, folder / "checkpoint", prefix, f"{prefix}.index"):
        assert model_zoo.resolve_checkpoint(str(given), model, tmp_path / "unused") == prefix
    assert not (tmp_path / "unused").exists()


def test_a_checkpoint_of_no_such_user_is_one_line(model, tmp_path):
    with pytest.raises(UserError, match=r"^~no-such-user/x: no such file"):
        model_zoo.resolve_checkpoint("~no-such-user/x", model, tmp_path)


def test_of_several_checkpoints_the_state_file_says_which(folder, model, tmp_path):
    for end in ("index", "data-00000-of-00001"):
        shutil.copy(folder / "checkpoint" / f"ckpt-0.{end}", folder / "checkpoint" / f"ckpt-12.{end}")
    with pytest.raises(UserError, match="several checkpoints"):
        model_zoo.resolve_checkpoint(str(folder), model, tmp_path)
    (folder / "checkpoint" / "checkpoint").write_text('model_checkpoint_path: "/gone/ckpt-12"\n')
    assert model_zoo.resolve_checkpoint(str(folder), model, tmp_path) == folder / "checkpoint" / "ckpt-12"


def test_archive_of_the_users_own_is_unpacked_once(tiny, model, tmp_path, monkeypatch):
    into = tmp_path / "pretrained"
    own = tmp_path / "my model.tgz"
    shutil.copy(tiny.archive, own)
    prefix = model_zoo.resolve_checkpoint(str(own), model, into)
    assert prefix.parent.parent.parent == into
    assert prefix.with_name("ckpt-0.index").is_file()
    monkeypatch.setattr(model_zoo, "_unpack", lambda *_: pytest.fail("unpacked twice"))
    assert model_zoo.resolve_checkpoint(str(own), model, into) == prefix
    monkeypatch.undo()
    own.write_bytes(make_archive(tmp_path / "made", seed=2).archive.read_bytes())
    assert model_zoo.resolve_checkpoint(str(own), model, into) != prefix


def test_unusable_checkpoints_are_named(folder, model, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "notes.txt"
    text.write_text("no archive")
    other = make_archive(tmp_path / "made", seed=0, attribute="classifier").archive
    damaged = folder / "checkpoint" / "ckpt-0.data-00000-of-00001"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for given, told in (
        (tmp_path / "nowhere", "no such file"),
        (empty, "no checkpoint"),
        (text, "not a complete tar archive"),
        (other, "detection model"),
        (folder, "damaged"),
    ):
        with pytest.raises(UserError) as error:
            model_zoo.resolve_checkpoint(str(given), model, tmp_path / "pretrained")
        assert str(given) in one_line(error)
        assert told in str(error.value)
    assert files(tmp_path / "pretrained") == []


def test_checkpoint_of_tensorflow_1_is_refused(model, tmp_path):
    import tensorflow as tf

    place = tmp_path / "old"
    place.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(place / "model.ckpt"), tensor_names=["model/a"], shape_and_slices=[""], tensors=[tf.zeros(3)]
    )
    with pytest.raises(UserError, match="TensorFlow 1"):
        model_zoo.resolve_checkpoint(str(place), model, tmp_path)

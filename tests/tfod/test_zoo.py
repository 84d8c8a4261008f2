import contextlib
import gzip
import hashlib
import http.server
import io
import json
import resource
import shutil
import socket
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import standin

from scripts.support import downloads
from scripts.support.errors import UserError
from scripts.tfod import zoo

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
    from scripts.tfod import compat

    compat.install()
    import numpy as np
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(seed).normal(size=(250, 500)).astype(np.float32))
    top = folder / name
    tf.train.Checkpoint(**{attribute: module}).write(str(top / "checkpoint" / "ckpt-0"))
    (top / "pipeline.config").write_text("model {}")
    return standin.pack(top)


@dataclass
class Server:
    """What the loopback server does, request by request, and the requests that it saw."""

    body: bytes
    address: str = ""
    # One for each request, the last one for all that follow: "whole", "cut <bytes>", "stall", "redirect <address>",
    # "html", "status <number>", "wrong part".
    plan: list[str] = field(default_factory=lambda: ["whole"])
    etag: str | None = '"version-1"'
    ranges: bool = True
    seen: list[dict[str, str]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server: Server = self.server.state  # type: ignore[attr-defined]
        server.seen.append({name.lower(): value for name, value in self.headers.items()})
        kind, _, value = server.plan[min(len(server.seen), len(server.plan)) - 1].partition(" ")
        if kind == "status":
            return self.send_error(int(value))
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", value)
            return self.end_headers()
        if kind == "html":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Welcome to the hotel</html>")
            return None
        start, total = 0, len(server.body)
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            said = start + 1 if kind == "wrong" else start
            self.send_header("Content-Range", f"bytes {said}-{total - 1}/{total}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        if self.command == "HEAD":
            return None
        end = start + int(value) if kind in ("cut", "stall") else total
        self.wfile.write(server.body[start:end])
        if kind == "stall":
            self.wfile.flush()
            self.server.done.wait(10)  # type: ignore[attr-defined]
        return None


@pytest.fixture
def server(tiny):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.state = Server(tiny.archive.read_bytes(), f"http://127.0.0.1:{listening.server_port}/{NAME}")
        listening.done = threading.Event()
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield listening.state
        listening.done.set()
        listening.shutdown()
        thread.join()


def fetch(server, digest, into, **options):
    options = {"pauses": (0, 0), "timeout": 5, "say": lambda line: None} | options
    return zoo.fetch(server.address, digest, into, loopback=True, **options)


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
    models = zoo.read_models(ROOT / zoo.MODELS)
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
    assert zoo.find_model("efficientdet_d0_512x512", ROOT / zoo.MODELS).size == 512


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(UserError) as error:
        zoo.find_model("yolo", ROOT / zoo.MODELS)
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
    ],
)
def test_broken_table_is_refused_with_what_is_wrong(tmp_path, text, named):
    table = tmp_path / "models.yaml"
    table.write_text(text)
    with pytest.raises(UserError) as error:
        zoo.read_models(table)
    assert str(table) in one_line(error)
    assert named in str(error.value)


# --- downloading ---------------------------------------------------------------------------------------------------


def test_fetch_brings_the_checkpoint_once(server, tiny, tmp_path):
    prefix = fetch(server, tiny.index_sha256, tmp_path)
    assert prefix == tmp_path / "tiny_model" / "checkpoint" / "ckpt-0"
    assert files(tmp_path) == COMPLETE  # saved_model/ of the archive is left out
    assert fetch(server, tiny.index_sha256, tmp_path) == prefix
    assert len(server.seen) == 1


def test_cut_download_goes_on_where_it_stopped(server, tiny, tmp_path):
    server.plan = ["cut 100000", "cut 70000", "whole"]
    fetch(server, tiny.index_sha256, tmp_path)
    assert [seen.get("range") for seen in server.seen] == [None, "bytes=100000-", "bytes=170000-"]
    assert server.seen[1]["if-range"] == server.etag
    assert files(tmp_path) == COMPLETE


def test_next_run_goes_on_with_what_the_last_one_kept(server, tiny, tmp_path):
    server.plan = ["cut 100000", "whole"]
    with pytest.raises(UserError) as error:
        fetch(server, tiny.index_sha256, tmp_path, pauses=())
    assert "tiny_model.tar.gz.part is kept" in one_line(error)
    assert "CHECKPOINT=none" in str(error.value)
    fetch(server, tiny.index_sha256, tmp_path)
    assert server.seen[1]["range"] == "bytes=100000-"
    assert files(tmp_path) == COMPLETE


def test_attempts_end_when_nothing_more_comes(server, tiny, tmp_path):
    server.plan = ["cut 1000", "cut 1000", "cut 0"]
    with pytest.raises(UserError):
        fetch(server, tiny.index_sha256, tmp_path, pauses=(0, 0, 0))
    assert len(server.seen) == 5  # two that brought something, then the pauses' three that did not
    server.seen.clear()
    server.plan, server.ranges = ["cut 1000"], False  # each attempt brings the same 1000 bytes
    with pytest.raises(UserError):
        fetch(server, tiny.index_sha256, tmp_path / "elsewhere", pauses=(0, 0, 0))
    assert len(server.seen) == 4


def test_server_without_ranges_starts_over(server, tiny, tmp_path):
    server.plan, server.ranges = ["cut 100000", "whole"], False
    fetch(server, tiny.index_sha256, tmp_path)
    assert "range" in server.seen[1]
    assert files(tmp_path) == COMPLETE


def test_file_that_changed_on_the_server_starts_over(server, tiny, tmp_path):
    server.plan = ["cut 100000"]
    with pytest.raises(UserError):
        fetch(server, tiny.index_sha256, tmp_path, pauses=())
    server.plan, server.etag = ["whole"], '"version-2"'
    fetch(server, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == COMPLETE


def test_file_without_a_version_is_not_continued(server, tiny, tmp_path):
    server.plan, server.etag = ["cut 100000", "whole"], None
    fetch(server, tiny.index_sha256, tmp_path)
    assert "range" not in server.seen[1]


def test_part_of_another_address_is_not_continued(server, tiny, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(b"\x1f\x8bsomething else")
    state = {"address": "https://example.org/other.tar.gz", "version": server.etag}
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps(state))
    fetch(server, tiny.index_sha256, tmp_path)
    assert "range" not in server.seen[0]


def test_whole_part_of_a_killed_run_is_taken(server, tiny, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(server.body)
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps({"address": server.address, "version": server.etag}))
    fetch(server, tiny.index_sha256, tmp_path)
    assert server.seen[0]["range"] == f"bytes={len(server.body)}-"
    assert files(tmp_path) == COMPLETE


def test_wrong_part_of_the_file_is_thrown_away(server, tiny, tmp_path):
    server.plan = ["cut 100000", "wrong part", "whole"]
    fetch(server, tiny.index_sha256, tmp_path)
    assert "range" not in server.seen[2]
    assert files(tmp_path) == COMPLETE


def test_stalled_connection_is_given_up_and_continued(server, tiny, tmp_path):
    server.plan = ["stall 100000", "whole"]
    told = []
    fetch(server, tiny.index_sha256, tmp_path, timeout=0.3, say=told.append)
    assert len(told) == 1
    assert "no answer in time" in told[0]
    assert files(tmp_path) == COMPLETE


@pytest.mark.parametrize(
    ("plan", "told", "requests"),
    [
        (["status 404"], "404 Not Found", 1),
        (["status 403"], "403 Forbidden", 1),
        (["status 503"], "503 Service Unavailable", 3),
        (["html"], "text/html", 1),
        (["redirect http://portal.example/login"], "not HTTPS", 1),
        (["redirect ftp://mirror.example/a.tar.gz"], "not HTTPS", 1),
        (["redirect /again.tar.gz"], "without end", 31),
    ],
)
def test_useless_answers_end_in_one_line_with_a_way_out(server, tiny, tmp_path, plan, told, requests):
    server.plan = plan
    with pytest.raises(UserError) as error:
        fetch(server, tiny.index_sha256, tmp_path)
    assert told in one_line(error)
    assert f"Put the archive at {tmp_path / NAME} by hand, or train from scratch with CHECKPOINT=none." in str(
        error.value
    )
    assert len(server.seen) == requests
    assert files(tmp_path) == []


def test_server_errors_that_pass_are_waited_out(server, tiny, tmp_path):
    server.plan = ["status 503", "status 429", "whole"]
    fetch(server, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == COMPLETE


def test_redirect_within_the_server_is_followed(server, tiny, tmp_path):
    server.plan = ["redirect /storage/elsewhere", "whole"]
    fetch(server, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == COMPLETE  # named by the address that was asked for


def test_no_network_is_said_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        zoo.fetch(NOWHERE, "0" * 64, tmp_path, pauses=(1000,))
    assert "cannot be reached (" in one_line(error)
    assert "refused" in str(error.value)
    assert f"Put the archive at {tmp_path / NAME} by hand" in str(error.value)


def test_https_address_is_not_answered_by_plain_http(server, tiny, tmp_path):
    with pytest.raises(UserError):
        zoo.fetch(server.address.replace("http:", "https:"), tiny.index_sha256, tmp_path, pauses=())
    assert files(tmp_path) == []


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
        zoo.fetch(address, None, tmp_path, loopback=loopback)
    assert address in one_line(error)


def test_full_disk_is_seen_before_the_download(server, tiny, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=5)
    monkeypatch.setattr(zoo.shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError) as error:
        fetch(server, tiny.index_sha256, tmp_path)
    assert "Free some space" in one_line(error)
    assert files(tmp_path) == []


@contextlib.contextmanager
def no_file_over(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_disk_that_takes_no_more_keeps_the_part(server, tiny, tmp_path):
    with no_file_over(100_000), pytest.raises(UserError) as error:
        fetch(server, tiny.index_sha256, tmp_path)
    assert "Free some space and run again" in one_line(error)
    assert len(server.seen) == 1
    fetch(server, tiny.index_sha256, tmp_path)
    assert server.seen[1]["range"] == "bytes=100000-"
    assert files(tmp_path) == COMPLETE


def test_disk_that_takes_no_more_leaves_nothing_unpacked(tiny, tmp_path):
    shutil.copy(tiny.archive, tmp_path / NAME)
    with no_file_over(100_000), pytest.raises(UserError):
        zoo.fetch(NOWHERE, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == [NAME]


def test_two_at_once_download_once(server, tiny, tmp_path):
    server.plan = ["stall 1000", "whole"]
    told, prefixes = [], []
    both = [
        threading.Thread(
            target=lambda: prefixes.append(fetch(server, tiny.index_sha256, tmp_path, timeout=0.5, say=told.append))
        )
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert prefixes == [tmp_path / "tiny_model" / "checkpoint" / "ckpt-0"] * 2
    assert len(server.seen) == 2  # the stalled one and its continuation, both of the first thread
    assert sum("another process" in line for line in told) == 1
    assert files(tmp_path) == COMPLETE


def test_folder_that_cannot_be_made_is_named(server, tiny, tmp_path):
    (tmp_path / "pretrained").write_text("a file")
    with pytest.raises(UserError) as error:
        fetch(server, tiny.index_sha256, tmp_path / "pretrained")
    assert str(tmp_path / "pretrained") in one_line(error)


def test_unreachable_says_why(server):
    assert downloads.unreachable(server.address, loopback=True) is None
    server.plan = ["status 404"]
    assert downloads.unreachable(server.address, loopback=True) == "it answered 404"
    assert "refused" in downloads.unreachable(NOWHERE)


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
        fetch(server, tiny.index_sha256, tmp_path, say=told.append)
        assert "unpacked again" in told[0]
        assert data.read_bytes() == good
    assert len(server.seen) == 1


def test_archive_put_there_by_hand_needs_no_network(tiny, tmp_path):
    shutil.copy(tiny.archive, tmp_path / NAME)
    zoo.fetch(NOWHERE, tiny.index_sha256, tmp_path)
    assert files(tmp_path) == COMPLETE


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\x1f\x8b", gzip.compress(b"no tar" * 1000)],
    ids=["empty", "a page", "cut off", "no tar in it"],  # else gzip's time would be part of a test's name
)
def test_archive_put_there_by_hand_that_is_none_stays(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError) as error:
        zoo.fetch(NOWHERE, "0" * 64, tmp_path)
    assert str(tmp_path / NAME) in one_line(error)
    assert NOWHERE in str(error.value)
    assert files(tmp_path) == [NAME]


def test_first_digest_is_recorded_said_and_kept_to(server, tiny, tmp_path):
    told = []
    prefix = fetch(server, None, tmp_path, say=told.append)
    assert len(told) == 1
    assert tiny.index_sha256 in told[0]
    record = tmp_path / "tiny_model.json"
    assert json.loads(record.read_text())["index_sha256"] == tiny.index_sha256

    told.clear()
    assert fetch(server, None, tmp_path, say=told.append) == prefix
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
        ([link("m/checkpoint", "/etc")], "no plain file"),
        ([link("m/ckpt-0.index", "/etc/passwd")], "no plain file"),
        ([link("m/ckpt-0.index", "m/other", tarfile.LNKTYPE)], "no plain file"),
        ([member("m/ckpt-0.index", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5)], "no plain file"),
        ([member("m/ckpt-0.index", b"", type=tarfile.FIFOTYPE)], "no plain file"),
        ([member("m/ckpt-0.index"), member("n/ckpt-0.index")], "more than once"),
        ([member(f"m/{number}") for number in range(1001)], "more than 1000 files"),
        ([member("m/zeros", bytes(3_000_000))], "more than 2.0 MB"),
        ([member("m/zeros", pax_headers={"comment": "0" * 3_000_000})], "more than 2.0 MB"),
        ([member("m/readme")], "no checkpoint"),
        ([member("m/saved_model/variables/variables.index")], "no checkpoint"),
        ([member("m/model.ckpt.index")], "no checkpoint"),
        ([member("m/checkpoint/ckpt-0.index", b"no index")], "is damaged"),
        (None, "no plain file"),
    ],
)
def test_hostile_archive_is_refused_and_leaves_nothing(tmp_path, monkeypatch, members, told):
    monkeypatch.setattr(zoo, "_LARGEST", 2_000_000)
    into = tmp_path / "pretrained"
    into.mkdir()
    if members is None:
        (into / NAME).write_bytes(sparse_archive())
    else:
        with tarfile.open(into / NAME, "w:gz", format=tarfile.PAX_FORMAT) as tar:
            for info, content in members:
                tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UserError) as error:
        zoo.fetch(NOWHERE, None, into)
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
                prefix = zoo.fetch(NOWHERE, tiny.index_sha256, tmp_path / "in")
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
    return zoo.ZooModel("tiny", NOWHERE, 64, Path("none"), tiny.index_sha256)


def test_none_and_zoo(tiny, model, tmp_path):
    assert zoo.resolve("none", model, tmp_path) is None
    with pytest.raises(UserError, match="CHECKPOINT=none"):
        zoo.resolve("zoo", model, tmp_path)
    shutil.copy(tiny.archive, tmp_path / NAME)
    assert zoo.resolve("zoo", model, tmp_path) == tmp_path / "tiny_model" / "checkpoint" / "ckpt-0"


@pytest.fixture
def folder(tiny, tmp_path):
    """A folder whose name has all that a path can have, with an unpacked archive."""
    place = tmp_path / 'it\'s "my" $(model) ü'
    place.mkdir()
    shutil.copy(tiny.archive, place / NAME)
    zoo.fetch(NOWHERE, tiny.index_sha256, place)
    return place / "tiny_model"


def test_folder_prefix_and_index_are_found(folder, model, tmp_path):
    prefix = folder / "checkpoint" / "ckpt-0"
    for given in (folder, folder / "checkpoint", prefix, f"{prefix}.index"):
        assert zoo.resolve(str(given), model, tmp_path / "unused") == prefix
    assert not (tmp_path / "unused").exists()


def test_of_several_checkpoints_the_state_file_says_which(folder, model, tmp_path):
    for end in ("index", "data-00000-of-00001"):
        shutil.copy(folder / "checkpoint" / f"ckpt-0.{end}", folder / "checkpoint" / f"ckpt-12.{end}")
    with pytest.raises(UserError, match="several checkpoints"):
        zoo.resolve(str(folder), model, tmp_path)
    (folder / "checkpoint" / "checkpoint").write_text('model_checkpoint_path: "/gone/ckpt-12"\n')
    assert zoo.resolve(str(folder), model, tmp_path) == folder / "checkpoint" / "ckpt-12"


def test_archive_of_the_users_own_is_unpacked_once(tiny, model, tmp_path, monkeypatch):
    into = tmp_path / "pretrained"
    own = tmp_path / "my model.tgz"
    shutil.copy(tiny.archive, own)
    prefix = zoo.resolve(str(own), model, into)
    assert prefix.parent.parent.parent == into
    assert prefix.with_name("ckpt-0.index").is_file()
    monkeypatch.setattr(zoo, "_unpack", lambda *_: pytest.fail("unpacked twice"))
    assert zoo.resolve(str(own), model, into) == prefix
    monkeypatch.undo()
    own.write_bytes(make_archive(tmp_path / "made", seed=2).archive.read_bytes())
    assert zoo.resolve(str(own), model, into) != prefix


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
        (text, "no whole tar archive"),
        (other, "detection model"),
        (folder, "damaged"),
    ):
        with pytest.raises(UserError) as error:
            zoo.resolve(str(given), model, tmp_path / "pretrained")
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
        zoo.resolve(str(place), model, tmp_path)


def test_whole_standin_of_the_zoos_archive_comes_over_loopback(zoo_archive, server, tmp_path):
    server.body = zoo_archive.archive.read_bytes()
    server.plan = ["cut 90000000", "whole"]
    prefix = fetch(server, zoo_archive.index_sha256, tmp_path)
    assert server.seen[1]["range"] == "bytes=90000000-"
    assert (prefix.parent.parent / "pipeline.config").is_file()
    shutil.rmtree(tmp_path)


def test_failed_name_lookup_is_no_traceback(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(UserError, match="Temporary failure in name resolution"):
        zoo.fetch(f"https://download.tensorflow.org/{NAME}", None, tmp_path)

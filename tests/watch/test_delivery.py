"""Actions and deliveries, against a real HTTP receiver and real programs."""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import event_receivers
import pytest
from event_receivers import wait_for

from facemask.core.errors import UserError
from facemask.watch import delivery
from facemask.watch.actions import webhook_action
from facemask.watch.actions.command_action import open_command
from facemask.watch.actions.event_receiver import DeliveryError, EventReceiver
from facemask.watch.actions.json_lines_action import open_json_lines
from facemask.watch.actions.webhook_action import open_webhook
from facemask.watch.outbox import Outbox, Waiting
from facemask.watch.watch_config import Command, JsonLines, Text, Webhook

EVENT = Waiting(1, "0123456789abcdef" * 2, 0.0, '{"rule":"no-mask","camera":"tür"}')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.02)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def posts() -> Iterator[event_receivers.Posts]:
    with event_receivers.http_receiver() as found:
        yield found


def webhook(url: str, **options: object) -> EventReceiver:
    return open_webhook(Webhook("webhook", url=Text(url), **options))  # type: ignore[arg-type]


def test_a_webhook_is_signed_as_standard_webhooks_says(
    posts: event_receivers.Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b"a key of 24 random bytes"
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(key).decode())
    webhook(posts.url, secret=Text(env="HOOK_SECRET")).deliver(EVENT)
    [(headers, body)] = posts.got
    assert json.loads(body) == json.loads(EVENT.payload) and headers["content-type"] == "application/json"
    assert headers["webhook-id"] == EVENT.event_id and abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}".encode()
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"


def test_the_signature_is_that_of_the_specifications_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = webhook_action.sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_that_fails_says_why_without_its_address(posts: event_receivers.Posts) -> None:
    posts.statuses = [302, 500, 204]
    receiver = webhook(posts.url)
    for status in (302, 500):
        with pytest.raises(DeliveryError, match=rf"^status {status}$") as error:
            receiver.deliver(EVENT)
        assert error.value.refused
    receiver.deliver(EVENT)
    with pytest.raises(DeliveryError, match=r"^ConnectionError$") as error:
        webhook(f"http://127.0.0.1:{event_receivers.free_port()}/hunter2").deliver(EVENT)
    assert not error.value.refused
    with pytest.raises(UserError, match=r"webhook: .*url"):
        webhook("http://[hunter2")


def test_a_command_gets_the_event_on_stdin_and_no_shell(tmp_path: Path) -> None:
    code = "import os,sys; open(sys.argv[1], 'w').write(sys.stdin.read() + os.environ['FACEMASK_EVENT_ID'])"
    target = str(tmp_path / "$(touch pwned); *")
    open_command(Command("command", (sys.executable, "-c", code, target))).deliver(EVENT)
    assert Path(target).read_text() == EVENT.payload + "\n" + EVENT.event_id
    assert [path.name for path in tmp_path.iterdir()] == ["$(touch pwned); *"]


@pytest.mark.parametrize("system", ["this one", "Windows"])
def test_a_command_that_fails_or_hangs(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if system == "Windows":
        monkeypatch.delattr(os, "killpg")
    with pytest.raises(DeliveryError, match="ended with code 3"):
        open_command(Command("command", ("sh", "-c", "exit 3"))).deliver(EVENT)
    marker = tmp_path / "child"
    script = f"sleep 0.6 && touch {marker} & sleep 60"
    with pytest.raises(DeliveryError, match=r"took longer than 0\.2 s"):
        open_command(Command("command", ("sh", "-c", script), timeout=0.2)).deliver(EVENT)
    time.sleep(0.6)
    assert not marker.exists(), "the children of the program are killed too"
    open_command(Command("command", ("true",))).deliver(EVENT)  # it does not read its stdin
    with pytest.raises(UserError, match="no-such-program"):
        open_command(Command("command", ("no-such-program",)))


def test_json_lines_go_on_after_half_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pread")  # does not exist on Windows
    path = tmp_path / "folder" / "events.jsonl"
    receiver = open_json_lines(JsonLines("json", file=path))
    receiver.deliver(EVENT)
    with path.open("a") as file:
        file.write('{"half')
    receiver.deliver(EVENT)
    assert path.read_text() == f'{EVENT.payload}\n{{"half\n{EVENT.payload}\n'
    open_json_lines(JsonLines("json")).deliver(EVENT)
    assert capsys.readouterr().out == EVENT.payload + "\n"
    with pytest.raises(UserError, match="cannot be written"):
        open_json_lines(JsonLines("json", file=tmp_path))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is not there")  # noqa: PTH110
def test_json_lines_to_a_full_disk_are_a_failed_delivery() -> None:
    with pytest.raises(DeliveryError, match="No space left"):
        open_json_lines(JsonLines("json", file=Path("/dev/full"))).deliver(EVENT)


def fill(database: Path, count: int, action: str = "webhook") -> list[str]:
    outbox = Outbox(database)
    ids = [f"{i:032x}" for i in range(count)]
    for i, event_id in enumerate(ids):
        outbox.add(event_id, i, '{"rule":"r"}', [action])
    outbox.close()
    return ids


def test_a_receiver_that_is_down_gets_everything_once_in_order_when_it_is_back(tmp_path: Path) -> None:
    database, port, said = tmp_path / "watch.sqlite3", event_receivers.free_port(), list[str]()
    ids = fill(database, 20)
    receivers = {"webhook": webhook(f"http://127.0.0.1:{port}/token-hunter2")}
    with delivery.delivering(receivers, database, said.append):
        wait_for(lambda: said)
        with event_receivers.http_receiver(port) as posts:
            wait_for(lambda: Outbox(database).count_waiting() == {})
            assert posts.ids() == ids
            wait_for(lambda: len(said) == 2)
    assert said == [
        f"webhook: cannot deliver (ConnectionError); its events wait in {database}",
        "webhook: delivers again",
    ]


def test_a_receiver_that_is_down_for_an_hour_gets_everything_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(tmp_path / "watch.sqlite3", 20)
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 1.0)
    pauses, delivered = list[float](), list[str]()

    class DownForAnHour(EventReceiver):
        def deliver(self, event: Waiting) -> None:
            if sum(pauses) < 3600:
                raise DeliveryError("away")
            delivered.append(event.event_id)

    one = delivery.Delivery("webhook", DownForAnHour(), tmp_path / "watch.sqlite3", lambda words: None)

    class Stopped:
        """Waits by noting the pause: the hour passes at once."""

        def is_set(self) -> bool:
            return len(delivered) == len(ids) or len(pauses) > 1000

        def wait(self, seconds: float) -> bool:
            pauses.append(seconds)
            return False

    one._stopped = Stopped()  # type: ignore[assignment]
    one._run()
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert delivered == ids and sum(pauses) < 3660


def test_a_refused_event_does_not_hold_up_the_others(tmp_path: Path, posts: event_receivers.Posts) -> None:
    database = tmp_path / "watch.sqlite3"
    ids = fill(database, 3)
    posts.statuses = [400, 200, 200, 400, 200]
    with delivery.delivering({"webhook": webhook(posts.url)}, database, lambda words: None):
        wait_for(lambda: Outbox(database).count_waiting() == {})
    assert posts.ids() == [ids[0], ids[1], ids[2], ids[0], ids[0]]
    assert len({body for _, body in posts.got}) == 1, "a repeat is the same event"


def test_a_delivery_that_cannot_be_recorded_is_not_repeated(
    tmp_path: Path, posts: event_receivers.Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the receiver has confirmed."""
    database, attempts = tmp_path / "watch.sqlite3", list[int]()
    ids, record = fill(database, 2), Outbox.record_delivery

    def full(outbox: Outbox, number: int, action: str, at: float) -> None:
        attempts.append(number)
        if len(attempts) < 4:
            raise sqlite3.OperationalError("database or disk is full")
        record(outbox, number, action, at)

    monkeypatch.setattr(Outbox, "record_delivery", full)
    with delivery.delivering({"webhook": webhook(posts.url)}, database, lambda words: None):
        wait_for(lambda: Outbox(database).count_waiting() == {})
    assert posts.ids() == ids and attempts == [1, 1, 1, 1, 2]


def test_a_bug_in_an_action_is_a_failed_delivery(tmp_path: Path) -> None:
    fill(tmp_path / "watch.sqlite3", 1)
    attempts: list[str] = []

    class Buggy(EventReceiver):
        def deliver(self, event: Waiting) -> None:
            attempts.append(event.event_id)
            if len(attempts) < 3:
                raise KeyError("hunter2")

    said: list[str] = []
    with delivery.delivering({"webhook": Buggy()}, tmp_path / "watch.sqlite3", said.append):
        wait_for(lambda: Outbox(tmp_path / "watch.sqlite3").count_waiting() == {})
    assert len(attempts) == 3 and "KeyError" in said[0] and "hunter2" not in said[0]


def test_every_receiver_is_closed_even_if_one_raises(tmp_path: Path) -> None:
    fill(tmp_path / "watch.sqlite3", 0)
    closed: list[str] = []

    class Closing(EventReceiver):
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            if self.name == "second":
                raise RuntimeError("a bug")

    receivers = {name: Closing(name) for name in ("first", "second", "third")}
    with pytest.raises(RuntimeError), delivery.delivering(receivers, tmp_path / "watch.sqlite3", lambda words: None):
        pass
    assert sorted(closed) == ["first", "second", "third"]

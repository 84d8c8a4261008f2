"""MQTT, against a real mosquitto."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import event_receivers
import pytest
from event_receivers import Broker, Listener, wait_for

from facemask.watch import delivery
from facemask.watch.actions.mqtt_action import MqttReceiver, discovery, open_mqtt
from facemask.watch.outbox import Outbox
from facemask.watch.watch_config import Camera, Mqtt, Rule, Text, WatchConfig

pytest.importorskip("paho.mqtt.client")

CLASSES = ("with_mask", "without_mask")
DOOR = Camera("door", Text("0"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with event_receivers.mosquitto(tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(delivery, "LONGEST_PAUSE", 0.2)


def receiver(broker: Broker, **options: Any) -> MqttReceiver:
    action = Mqtt("mqtt", **{"host": "127.0.0.1", "port": broker.port} | options)
    config = WatchConfig((DOOR,), (Rule("no-mask", ("without_mask",)),), (action,))
    found = open_mqtt(action, config, CLASSES)
    found._client.reconnect_delay_set(1, 1)
    return found


def fill(database: Path, numbers: range) -> list[str]:
    outbox = Outbox(database)
    ids = [f"{i:032x}" for i in numbers]
    for i, event_id in zip(numbers, ids, strict=True):
        outbox.add(event_id, i, json.dumps({"rule": "no-mask", "event_id": event_id}), ["mqtt"])
    outbox.close()
    return ids


def nothing_waits(database: Path) -> bool:
    return Outbox(database).count_waiting() == {}


def test_events_people_and_discovery_arrive(broker: Broker, tmp_path: Path) -> None:
    database, ids = tmp_path / "watch.sqlite3", fill(tmp_path / "watch.sqlite3", range(3))
    listener, action = Listener(broker), receiver(broker)
    with delivery.delivering({"mqtt": action}, database, lambda words: None):
        wait_for(lambda: nothing_waits(database))
        for count in (1, 1, 2):
            action.show_people("door", {"with_mask": count, "without_mask": 0})
        wait_for(lambda: len(listener.of("facemask/people/door")) == 2)
    wait_for(lambda: len(listener.of("facemask/status")) == 2)
    events = listener.of("facemask/events/no-mask")
    assert [json.loads(message.payload)["event_id"] for message in events] == ids
    assert [dict(message.properties.UserProperty)["event_id"] for message in events] == ids
    assert [message.payload for message in listener.of("facemask/status")] == [b"online", b"offline"]
    people = [json.loads(message.payload) for message in listener.of("facemask/people")]
    assert [counts["with_mask"] for counts in people] == [1, 2]
    listener.close()
    late = Listener(broker)  # what Home Assistant sees when it starts later
    wait_for(lambda: len(late.got) == 5)
    assert {message.topic: bool(message.retain) for message in late.got} == {
        "facemask/status": True,
        "facemask/people/door": True,
        "homeassistant/sensor/facemask_door_with_mask/config": True,
        "homeassistant/sensor/facemask_door_without_mask/config": True,
        "homeassistant/binary_sensor/facemask_rule_no-mask/config": True,
    }
    late.close()


def test_what_home_assistant_discovers_points_to_the_topics() -> None:
    action = Mqtt("mqtt", host="x", topic="home/masks")
    found = discovery(action, WatchConfig((DOOR,), (Rule("r", ("a",)),), (action,)), ["mask on"])
    sensor = json.loads(found["homeassistant/sensor/home_masks_door_mask_on/config"])
    assert sensor["state_topic"] == "home/masks/people/door"
    assert sensor["value_template"] == '{{ value_json["mask on"] }}'
    switch = json.loads(found["homeassistant/binary_sensor/home_masks_rule_r/config"])
    assert switch["state_topic"] == "home/masks/events/r" and switch["off_delay"] == 30
    assert len({json.loads(payload)["unique_id"] for payload in found.values()}) == 2


def test_a_broker_that_restarts_loses_no_event(broker: Broker, tmp_path: Path) -> None:
    database, said = tmp_path / "watch.sqlite3", list[str]()
    listener = Listener(broker)
    ids = fill(database, range(2))
    with delivery.delivering({"mqtt": receiver(broker)}, database, said.append) as wake:
        wait_for(lambda: nothing_waits(database))
        broker.end()
        ids += fill(database, range(2, 5))
        wake()
        time.sleep(0.3)
        broker.start()
        wait_for(lambda: nothing_waits(database))
    wait_for(lambda: len(listener.of("facemask/events")) >= len(ids))
    assert [json.loads(message.payload)["event_id"] for message in listener.of("facemask/events")] == ids
    listener.close()


def test_without_a_broker_events_wait(tmp_path: Path) -> None:
    database, said = tmp_path / "watch.sqlite3", list[str]()
    ids, none = fill(database, range(1)), Broker("", tmp_path, event_receivers.free_port())
    with delivery.delivering({"mqtt": receiver(none)}, database, said.append):
        wait_for(lambda: said)
    assert Outbox(database).count_waiting() == {"mqtt": len(ids)}
    assert said[0].startswith("mqtt: cannot deliver (no")


@pytest.mark.parametrize("full", [False, True])
def test_a_goodbye_that_cannot_be_sent_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    """The connection breaks after the question whether there is one; paho's queue may be full then."""
    action = receiver(Broker("", tmp_path, event_receivers.free_port()))
    monkeypatch.setattr(action._client, "is_connected", lambda: True)
    if full:
        monkeypatch.setattr(action._client, "_max_queued_messages", 1)
        action._client.publish("facemask/status", "online", qos=1)
    action.close()


def test_an_event_that_the_broker_refuses_waits(tmp_path: Path) -> None:
    database, said, rights = tmp_path / "watch.sqlite3", list[str](), tmp_path / "rights"
    rights.write_text("topic write facemask/status\n")
    ids = fill(database, range(1))
    settings = f"allow_anonymous true\nacl_file {rights}\n"
    with (
        event_receivers.mosquitto(tmp_path, settings) as broker,
        delivery.delivering({"mqtt": receiver(broker)}, database, said.append),
    ):
        wait_for(lambda: said or nothing_waits(database))
    assert Outbox(database).count_waiting() == {"mqtt": len(ids)}
    assert "Not authorized" in said[0]


def test_retained_messages_that_the_broker_refuses_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, rights = tmp_path / "watch.sqlite3", tmp_path / "rights"
    rights.write_text("topic write facemask/#\n")
    fill(database, range(1))
    with (
        event_receivers.mosquitto(tmp_path, f"allow_anonymous true\nacl_file {rights}\n") as broker,
        delivery.delivering({"mqtt": receiver(broker)}, database, lambda words: None) as wake,
    ):
        wait_for(lambda: nothing_waits(database))
        broker.end()
        broker.start()
        fill(database, range(1, 2))
        wake()
        wait_for(lambda: nothing_waits(database))
    told = capsys.readouterr().err.splitlines()
    topics = (
        "sensor/facemask_door_with_mask",
        "sensor/facemask_door_without_mask",
        "binary_sensor/facemask_rule_no-mask",
    )
    assert told == [f"mqtt: the broker refuses homeassistant/{topic}/config: Not authorized" for topic in topics]


def test_user_password_and_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl, passwd = shutil.which("openssl"), shutil.which("mosquitto_passwd")
    if openssl is None or passwd is None:
        pytest.skip("openssl or mosquitto_passwd is not installed (apt-get install openssl mosquitto)")
    key, certificate, users = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "users"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    subprocess.run([passwd, "-b", "-c", str(users), "watch", "hunter2"], check=True, capture_output=True)
    settings = f"allow_anonymous false\npassword_file {users}\ncertfile {certificate}\nkeyfile {key}\n"
    database, said = tmp_path / "watch.sqlite3", list[str]()
    monkeypatch.setenv("MQTT_PASSWORD", "wrong")
    with event_receivers.mosquitto(tmp_path, settings) as broker:
        listener = Listener(broker, user="watch", password="hunter2", ca_file=str(certificate))
        fill(database, range(1))
        options = {"user": "watch", "password": Text(env="MQTT_PASSWORD"), "ca_file": certificate}
        with delivery.delivering({"mqtt": receiver(broker, **options)}, database, said.append):
            wait_for(lambda: said)
        monkeypatch.setenv("MQTT_PASSWORD", "hunter2")
        with delivery.delivering({"mqtt": receiver(broker, **options)}, database, said.append):
            wait_for(lambda: nothing_waits(database))
        wait_for(lambda: len(listener.of("facemask/events")) == 1)
        listener.close()
    assert "hunter2" not in "".join(said)

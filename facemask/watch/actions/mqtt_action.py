"""The action `mqtt`: a message for each event, and the number of people by class. Speaks MQTT 5.

| topic | payload | quality of service | retained |
|---|---|---|---|
| `<topic>/status` | `online` or `offline` | 1 | yes |
| `<topic>/events/<rule>` | the event; its id is the user property `event_id` too | 1 | no |
| `<topic>/people/<camera>` | the number of people by class, as JSON | 0 | yes |
| `homeassistant/.../config` | what Home Assistant discovers | 1 | yes |
"""

import contextlib
import json
import ssl
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from facemask.core.errors import UserError
from facemask.watch.actions.event_receiver import DeliveryError, EventReceiver
from facemask.watch.outbox import Waiting
from facemask.watch.watch_config import Mqtt, WatchConfig, names_of

CONFIRM = 10.0
"""Seconds to wait for the broker's confirmation of a message."""

OFF_DELAY = 30
"""Seconds after which Home Assistant sets a rule's binary sensor back."""


class MqttReceiver(EventReceiver):
    """Publishes events. The broker's acknowledgement confirms one, unless it says that the broker refuses the event.

    paho connects again by itself, after 1 to 60 s.
    """

    def __init__(self, action: Mqtt, announcements: Mapping[str, str]) -> None:
        """Prepare the connection.

        Args:
            action: The broker and the topic.
            announcements: Retained messages that are published at each connection: payloads by topic.
        """
        import paho.mqtt.client as mqtt
        from paho.mqtt.properties import Properties

        self._topic = action.topic
        self._people: dict[str, str] = {}
        self._lock = threading.Lock()
        self._sent: tuple[str, Any] | None = None
        self._refusals: dict[int, str] = {}
        retained: dict[int, str] = {}  # topics by the number of a message that waits for the broker's answer
        refused: set[str] = set()
        self._reason = "not connected"
        self._tried = threading.Event()
        self._properties: Callable[[], Any] = lambda: Properties(mqtt.PacketTypes.PUBLISH)
        self._client = client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        if action.user is not None:
            client.username_pw_set(action.user, action.password.read() if action.password else None)
        secure = action.tls or action.ca_file is not None
        if secure:
            try:
                client.tls_set(ca_certs=None if action.ca_file is None else str(action.ca_file))
            except (OSError, ssl.SSLError) as error:
                raise UserError(
                    f"{action.ca_file}: no certificates that can be read ({type(error).__name__})."
                ) from None
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, 60)

        def connected(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                self._reason = str(reason)
                self._tried.set()
                return
            for topic, payload in {**announcements, f"{self._topic}/status": "online"}.items():
                retained[client.publish(topic, payload, qos=1, retain=True).mid] = topic
            with self._lock:
                for camera, payload in self._people.items():
                    client.publish(f"{self._topic}/people/{camera}", payload, retain=True)
            self._tried.set()

        def failed(*_: Any) -> None:
            self._reason = "no connection to the broker"
            self._tried.set()

        def acknowledged(_client: Any, _data: Any, number: int, reason: Any, _properties: Any) -> None:
            # paho counts a refused message as published, and tells the reason only here, before it counts it.
            if topic := retained.pop(number, None):
                if reason.is_failure and topic not in refused:
                    refused.add(topic)
                    print(f"{action.name}: the broker refuses {topic}: {reason}", file=sys.stderr, flush=True)
            elif reason.is_failure:
                self._refusals[number] = str(reason)
            else:
                self._refusals.pop(number, None)  # paho uses the numbers again

        client.on_connect, client.on_connect_fail, client.on_disconnect = connected, failed, failed
        client.on_publish = acknowledged
        client.connect_async(action.host, action.port or (8883 if secure else 1883), keepalive=20)

    def start(self) -> None:
        """Connect in the background, again and again."""
        self._client.loop_start()

    def deliver(self, event: Waiting) -> None:
        """See `EventReceiver.deliver`."""
        if not (self._sent and self._sent[0] == event.event_id):
            self._tried.wait(CONFIRM)  # what an earlier process has left does not fail before the first connection
            if not self._client.is_connected():
                raise DeliveryError(self._reason)
            properties = self._properties()
            properties.UserProperty = ("event_id", event.event_id)
            rule = json.loads(event.payload)["rule"]
            topic = f"{self._topic}/events/{rule}"
            self._sent = event.event_id, self._client.publish(topic, event.payload, qos=1, properties=properties)
        # After a broken connection paho itself sends what was not confirmed: a second publish would repeat it.
        message = self._sent[1]
        try:
            message.wait_for_publish(CONFIRM)
            confirmed = message.is_published()
        except (ValueError, RuntimeError) as error:
            self._sent = None
            raise DeliveryError(str(error)) from None
        if not confirmed:
            raise DeliveryError("the broker did not confirm the message")
        self._sent = None
        if message.mid in self._refusals:
            raise DeliveryError(f"the broker refuses it: {self._refusals.pop(message.mid)}", refused=True)

    def show_people(self, camera: str, counts: Mapping[str, int]) -> None:
        """Publish the number of people by class, if it has changed."""
        payload = json.dumps(dict(counts))
        with self._lock:
            if self._people.get(camera) == payload:
                return
            self._people[camera] = payload
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/people/{camera}", payload, retain=True)

    def close(self) -> None:
        """Say goodbye."""
        if self._client.is_connected():
            farewell = self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True)
            with contextlib.suppress(ValueError, RuntimeError):  # the connection broke, or paho's queue is full
                farewell.wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()


def open_mqtt(action: Mqtt, config: WatchConfig, classes: Sequence[str]) -> MqttReceiver:
    """Open the action. Raises a UserError if its password cannot be read."""
    return MqttReceiver(action, discovery(action, config, classes) if action.home_assistant else {})


def discovery(action: Mqtt, config: WatchConfig, classes: Sequence[str]) -> dict[str, str]:
    """Home Assistant's discovery messages, payloads by topic: a sensor for each camera and class, a binary sensor for
    each rule. https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery"""
    base = action.topic.replace("/", "_")
    shared: dict[str, Any] = {
        "availability_topic": f"{action.topic}/status",
        "device": {"identifiers": [base], "name": "Face-mask watch", "model": "facemask"},
    }
    found: dict[str, str] = {}
    for camera in names_of(config.cameras):
        for class_name in classes:
            unique = f"{base}_{camera}_{class_name}"
            found[f"homeassistant/sensor/{_safe(unique)}/config"] = json.dumps(
                shared
                | {
                    "name": f"{camera} {class_name}",
                    "unique_id": unique,
                    "state_topic": f"{action.topic}/people/{camera}",
                    "value_template": f"{{{{ value_json[{json.dumps(class_name)}] }}}}",
                    "state_class": "measurement",
                    "unit_of_measurement": "people",
                }
            )
    for rule in config.rules:
        if action in config.actions_of(rule):
            unique = f"{base}_rule_{rule.name}"
            found[f"homeassistant/binary_sensor/{_safe(unique)}/config"] = json.dumps(
                shared
                | {
                    "name": rule.name,
                    "unique_id": unique,
                    "state_topic": f"{action.topic}/events/{rule.name}",
                    "value_template": "{{ 'ON' if value_json.event_id is defined }}",
                    "json_attributes_topic": f"{action.topic}/events/{rule.name}",
                    "off_delay": OFF_DELAY,
                    "device_class": "occupancy",
                }
            )
    return found


def _safe(name: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in name)

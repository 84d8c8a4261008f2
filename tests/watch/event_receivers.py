"""A real HTTP receiver and a real MQTT broker, on loopback."""

import contextlib
import http.server
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Posts:
    """What an HTTP receiver got, and what it answers.

    Attributes:
        url: Its address.
        statuses: An answer for each request, the last one for all that follow.
        look: Called with the id of each event before it is answered.
        got: The headers (in lower case) and the body of each request.
    """

    url: str
    look: Callable[[str], None] = lambda event_id: None
    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@contextlib.contextmanager
def http_receiver(port: int = 0, look: Callable[[str], None] = lambda event_id: None) -> Iterator[Posts]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the sender was killed
                super().handle()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            posts.look(self.headers["webhook-id"])
            status = posts.statuses[min(len(posts.got), len(posts.statuses)) - 1]
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        posts = Posts(f"http://127.0.0.1:{server.server_port}/hook/token-hunter2", look)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield posts
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Broker:
    """A mosquitto of our own. What it has confirmed outlives `end`, but not `kill`."""

    program: str
    folder: Path
    port: int
    settings: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        settings = self.settings or "allow_anonymous true\n"
        # Started by root, mosquitto would become a user who cannot read pytest's folders. Other users: no effect.
        keep = f"persistence true\npersistence_location {self.folder}/\n"
        config.write_text(f"user root\n{keep}listener {self.port} 127.0.0.1\n{settings}\n")
        self.process = subprocess.Popen([self.program, "-c", str(config)], stderr=subprocess.DEVNULL)
        wait_for(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as found:
            return found.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self) -> None:
        """Ask it to end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def mosquitto(folder: Path, settings: str = "") -> Iterator[Broker]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    broker = Broker(program, folder, free_port(), settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class Listener:
    """A subscriber to everything."""

    def __init__(self, broker: Broker, **options: Any) -> None:
        import paho.mqtt.client as mqtt
        from paho.mqtt.properties import Properties

        self.got: list[Any] = []
        name = f"listener-{secrets.token_hex(4)}"
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
        self.ready = False
        if "user" in options:
            self.client.username_pw_set(options["user"], options["password"])
        if "ca_file" in options:
            self.client.tls_set(options["ca_file"])
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self.client.on_message = self._receive
        self.client.reconnect_delay_set(1, 1)
        # The broker keeps what comes between its start and the listener's return.
        session = Properties(mqtt.PacketTypes.CONNECT)
        session.SessionExpiryInterval = 300
        self.client.connect("127.0.0.1", broker.port, clean_start=False, properties=session)
        self.client.loop_start()
        wait_for(lambda: self.ready)

    def _receive(self, _client: Any, _data: Any, message: Any) -> None:
        # A broker that ends before the listener's acknowledgement sends the message again, marked as a repeat. A second
        # message of the publisher is never marked.
        if not (message.dup and (message.topic, message.payload) in [(one.topic, one.payload) for one in self.got]):
            self.got.append(message)

    def of(self, topic: str) -> list[Any]:
        return [message for message in list(self.got) if message.topic.startswith(topic)]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def wait_for(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is true. The limit is for a machine that is busy with other things."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)

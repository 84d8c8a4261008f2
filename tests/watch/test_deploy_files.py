"""The files in deploy/: what can be checked of them without Docker and without installing a service."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import event_receivers
import pytest
import yaml

from facemask.cli.app import command_of
from facemask.watch.watch_config import read_config
from facemask.watch.watch_loop import lock_of

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = compose["services"]
    return found


def test_each_service_may_do_little_and_is_watched_over(services: dict[str, Any]) -> None:
    assert sorted(services) == ["mosquitto", "serve", "watch"]
    for service in services.values():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert int(service["user"].split(":")[0]) > 0
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service["volumes"]:
            source, _, *rest = volume.split(":")
            assert rest == ["ro"] or not source.startswith("."), "what is the user's own cannot be written"


@pytest.mark.parametrize("step", ["serve", "watch"])
def test_the_commands_are_those_of_the_program(services: dict[str, Any], step: str) -> None:
    name, *options = services[step]["command"]
    assert name == step
    command_of(step).make_context(step, list(options))


def test_the_health_check_looks_at_the_file_that_a_watch_touches(services: dict[str, Any]) -> None:
    config, _ = read_config(ROOT / "configs" / "watch.yaml")
    assert f" {lock_of(config)} " in services["watch"]["healthcheck"]["test"][1]
    assert f"watch:/srv/facemask/{lock_of(config).parent}" in services["watch"]["volumes"]


def test_the_image_takes_what_exists_and_leaves_the_user_nothing_to_lose() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [path for found in re.findall(r"^COPY (?!--from)(.*) \S+$", lines, re.M) for path in found.split()]
    allowed = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / path).exists() for path in copied)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", lines, re.M)


def test_the_unit_runs_the_program(services: dict[str, Any]) -> None:
    unit = (DEPLOY / "facemask-watch.service").read_text(encoding="utf-8")
    [start] = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    program, *arguments = shlex.split(start)
    assert program.endswith("/bin/python") and arguments[:3] == ["-m", "facemask", "watch"]
    command_of("watch").make_context("watch", arguments[3:])


def test_nobody_gets_into_the_broker_without_a_password(tmp_path: Path) -> None:
    mqtt = pytest.importorskip("paho.mqtt.client")
    users, passwd = tmp_path / "users", shutil.which("mosquitto_passwd")
    if passwd is None:
        pytest.skip("mosquitto_passwd is not installed (apt-get install mosquitto)")
    subprocess.run([passwd, "-b", "-c", users, "watch", "hunter2"], check=True, capture_output=True)
    settings = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    assert "listener 1883\n" in settings and "/mosquitto/config/users\n" in settings
    settings = settings.replace("listener 1883\n", "").replace("/mosquitto/config/users", str(users))
    settings = re.sub(r"^persistence.*\n", "", settings, flags=re.M)  # the broker of the tests has its own
    with event_receivers.mosquitto(tmp_path, settings) as broker:
        for password, expected in (("hunter2", "Success"), ("wrong", "Not authorized"), ("", "Not authorized")):
            client, said = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5), list[str]()
            client.on_connect = lambda _client, _data, _flags, reason, _properties, said=said: said.append(str(reason))
            if password:
                client.username_pw_set("watch", password)
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            event_receivers.wait_for(lambda said=said: said)
            client.disconnect()
            client.loop_stop()
            assert said[0] == expected

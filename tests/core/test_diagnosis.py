import json
import sys
from pathlib import Path

import pytest

from facemask.core import diagnosis, hardware
from facemask.core.diagnosis import State

NEW, OLD, OTHER = hardware.Gpu("A100", (8, 0)), hardware.Gpu("T4", (7, 5)), hardware.Gpu("Radeon", None)


def probe(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_tensorflow_devices_and_precision_come_from_the_probe(tmp_path: Path) -> None:
    said = json.dumps({"tensorflow": "2.20.0", "gpus": [["A100", [8, 0]]]})
    found = diagnosis.check_tensorflow(probe(f"print('noise'); print({said!r})"), tmp_path)
    assert [finding.subject for finding in found] == ["TensorFlow", "Devices", "bf16"]
    assert {finding.state for finding in found} == {State.GOOD}
    assert "2.20.0" in found[0].found
    assert "A100 (compute capability 8.0)" in found[1].found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise ImportError('no such thing')", "ImportError: no such thing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
        ("raise SystemExit(3)", "code 3"),
    ],
)
def test_a_tensorflow_that_does_not_load_is_broken_and_says_why(tmp_path: Path, code: str, expected: str) -> None:
    (finding,) = diagnosis.check_tensorflow(probe(code), tmp_path)
    assert finding.state is State.BROKEN
    assert expected in finding.found
    assert "pip install --force-reinstall 'facemask[train]'" in finding.found
    (tmp_path / "lock").mkdir()  # of a checkout
    (finding,) = diagnosis.check_tensorflow(probe(code), tmp_path)
    assert "make setup" in finding.found


def test_a_tensorflow_that_hangs_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "PROBE_TIMEOUT", 0.2)
    (finding,) = diagnosis.check_tensorflow(probe("import time; time.sleep(60)"), tmp_path)
    assert finding.state is State.BROKEN


def test_an_unused_nvidia_driver_is_pointed_at() -> None:
    assert "GPU=1" in diagnosis.check_devices([], nvidia_driver=True).found
    assert "GPU=1" not in diagnosis.check_devices([], nvidia_driver=False).found
    assert diagnosis.check_devices([NEW, OTHER], nvidia_driver=True).state is State.GOOD


@pytest.mark.parametrize(
    ("gpus", "cpu", "yes"),
    [([], True, True), ([], False, False), ([NEW], False, True), ([OLD], True, False), ([NEW, OTHER], True, False)],
)
def test_bf16_is_said_as_training_will_pick_it(gpus: list[hardware.Gpu], cpu: bool, yes: bool) -> None:
    assert diagnosis.check_bf16(gpus, cpu).found.startswith("yes" if yes else "no")


@pytest.mark.parametrize(
    ("environment", "system", "expected"),
    [
        ({"DISPLAY": ":0"}, "linux", "X (DISPLAY=:0)"),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "linux", "Wayland (WAYLAND_DISPLAY=wayland-0)"),
        ({"DISPLAY": ""}, "linux", "none"),
        ({}, "darwin", "macOS"),
    ],
)
def test_the_display_is_found(environment: dict[str, str], system: str, expected: str) -> None:
    assert diagnosis.check_display(environment, system).found.startswith(expected)


def test_little_memory_and_disk_are_noted(tmp_path: Path) -> None:
    assert diagnosis.check_memory(diagnosis.MEMORY_WANTED, 10**10).state is State.GOOD
    assert diagnosis.check_memory(diagnosis.MEMORY_WANTED - 1, 10**10).state is State.NOTE
    assert diagnosis.check_disk(diagnosis.DISK_WANTED, tmp_path).state is State.GOOD
    assert diagnosis.check_disk(diagnosis.DISK_WANTED - 1, tmp_path).state is State.NOTE


def test_a_zoo_out_of_reach_is_no_reason_to_stop() -> None:
    assert diagnosis.check_zoo(None).state is State.GOOD
    silent = diagnosis.check_zoo("no network")
    assert silent.state is State.NOTE
    assert "no network" in silent.found
    assert "CHECKPOINT=ready" in silent.found


def test_groups_are_told_by_the_copies_of_their_locks(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    (tmp_path / ".venv" / "locks").mkdir(parents=True)
    for group in ("base", "build", "dev", "gpu", "label"):
        (tmp_path / "lock" / f"{group}.txt").write_text("new")
    (tmp_path / ".venv" / "locks" / "base.txt").write_text("new")
    (tmp_path / ".venv" / "locks" / "dev.txt").write_text("old")
    (finding,) = diagnosis.check_package_groups(tmp_path)
    assert [line.split(";")[0] for line in finding.found.splitlines()] == [
        "base: installed",
        "dev: out of date",
        "gpu: not installed",
        "label: not installed",
    ]


def test_everything_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    said = json.dumps({"tensorflow": "2.20.0", "gpus": []})
    found = diagnosis.diagnose_machine(tmp_path, probe(f"print({said!r})"), lambda: "no network", {})
    subjects = " ".join(finding.subject for finding in found)
    assert subjects == "Python TensorFlow Devices bf16 Processor Memory Disk Display Zoo Packages"


def test_without_training_packages_an_installation_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diagnose() -> dict[str, diagnosis.Finding]:
        found = diagnosis.diagnose_machine(tmp_path, probe("import no_such_package"), lambda: "no network", {})
        return {finding.subject: finding for finding in found}

    monkeypatch.setattr(diagnosis, "find_spec", lambda name: None)
    found = diagnose()
    assert list(found) == ["Python", "Training", "Processor", "Memory", "Disk", "Display"]
    assert found["Training"].state is State.NOTE
    assert "pip install 'facemask[train]'" in found["Training"].found
    # Some of them are a broken installation, and so are none in a checkout.
    monkeypatch.setattr(diagnosis, "find_spec", lambda name: name if name == "tensorflow" else None)
    assert diagnose()["TensorFlow"].state is State.BROKEN
    monkeypatch.setattr(diagnosis, "find_spec", lambda name: None)
    (tmp_path / "lock").mkdir()
    assert diagnose()["TensorFlow"].state is State.BROKEN

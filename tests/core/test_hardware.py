from pathlib import Path

import pytest

from facemask.core import hardware


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse avx512f avx512_bf16 amx_tile", True),
        ("fpu amx_bf16", True),
        ("fpu avx2 avx512f avx512_vnni amx_int8", False),
        ("", False),
    ],
)
def test_bf16_is_read_from_the_processors_flags(tmp_path: Path, flags: str, expected: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: A: processor\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    assert hardware.cpu_has_bf16(cpuinfo) is expected
    assert hardware.cpu_name(cpuinfo) == "A: processor"


def test_no_description_means_no_bf16_and_the_architectures_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.uname")  # does not exist on Windows
    assert hardware.cpu_has_bf16(tmp_path / "none") is False
    assert hardware.cpu_name(tmp_path / "none")


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), True), ((12, 0), True), ((7, 5), False), (None, False)])
def test_a_gpu_has_bf16_from_compute_capability_8(capability: tuple[int, int] | None, expected: bool) -> None:
    assert hardware.Gpu("GPU", capability).has_bf16 is expected


def test_one_old_gpu_among_new_ones_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    old, new = hardware.Gpu("old", (7, 0)), hardware.Gpu("new", (9, 0))
    for found, expected in (((), True), ((new,), True), ((new, old), False)):
        monkeypatch.setattr(hardware, "visible_gpus", lambda found=found: found)
        assert hardware.has_bf16() is expected


def test_a_containers_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware._container_cores(tmp_path) is None
    assert hardware._container_memory(tmp_path) == (None, 0)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("4000\n")
    (tmp_path / "memory.current").write_text("1500\n")
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 500\n")
    assert hardware._container_cores(tmp_path) == 2
    assert hardware._container_memory(tmp_path) == (4000, 1000)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware._container_cores(tmp_path) is None
    assert hardware._container_memory(tmp_path) == (None, 0)


def test_the_machine_has_cores_and_memory() -> None:
    assert hardware.usable_cores() >= 1
    assert 0 < hardware.memory_free() <= hardware.memory_total()


def test_memory_is_the_containers_where_that_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_container_memory", lambda: (4000, 1000))
    assert (hardware.memory_total(), hardware.memory_free()) == (4000, 3000)

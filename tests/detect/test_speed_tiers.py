import openvino as ov
import pytest

from facemask.detect import speed_probe, speed_tiers
from facemask.detect.speed_probe import ProcessorSpeed
from facemask.detect.speed_tiers import TIERS, recommend_tier
from facemask.tfod import model_zoo

# Billions of operations a second on two cores: with AMX, with AVX512 alone, and of a Raspberry Pi 4.
AMX, AVX512, SMALL = (
    ProcessorSpeed(1500.0, 150.0, 65.0, "bf16"),
    ProcessorSpeed(220.0, 60.0, 60.0, "fp32"),
    ProcessorSpeed(8.0, 5.0, 5.0, "fp32"),
)


def test_a_tier_is_what_keeps_within_the_limit() -> None:
    shipped = [tier for tier in TIERS if tier.ships]
    assert recommend_tier(AVX512, speed_tiers.VIDEO_MILLISECONDS, shipped).name == "RUN=ready-fast"
    assert recommend_tier(AVX512, 1e9).name == TIERS[-1].name
    assert recommend_tier(SMALL, 1.0) is TIERS[0]


def test_a_faster_machine_gets_no_smaller_detector() -> None:
    for limit in (10.0, 40.0, 120.0, 1000.0):
        places = [TIERS.index(recommend_tier(speed, limit)) for speed in (SMALL, AVX512, AMX)]
        assert places == sorted(places)


def test_every_tier_is_listed_with_its_time() -> None:
    text = speed_tiers.describe_tiers(AVX512)
    assert all(tier.name in text for tier in TIERS)
    assert "19  RUN=ready-fast" in text  # 0.7 * 1.65 / 60
    assert "for video: RUN=ready-fast\n" in text
    assert "for pictures: RUN=ready\n" in text
    assert "for pictures: RUN=ready-fast\n" in speed_tiers.describe_tiers(SMALL)


def test_two_stages_are_recommended_to_train_unless_the_machine_is_slow() -> None:
    for speed in (AVX512, AMX):
        text = speed_tiers.describe_tiers(speed)
        assert "to train your own: make classifier; DETECTOR=two_stage FACES_SIZE=960\n" in text
    small = "to train your own: MODEL=ssd_mobilenet_v2_fpnlite_320x320\n"
    assert small in speed_tiers.describe_tiers(SMALL, shipped=False)


def test_what_ships_is_estimated_in_float32_and_the_rows_are_in_order_of_time() -> None:
    rows = speed_tiers.describe_tiers(AMX).split("in bf16, two stages in fp32:\n")[1].splitlines()
    assert any(row.split() == ["18", "RUN=ready-fast"] for row in rows)  # 0.7 * 1.65 / 65
    times = [int(row.split()[0]) for row in rows]
    assert times == sorted(times)


@pytest.mark.parametrize("in_bf16", [True, False])
def test_separable_blocks_are_measured_in_float32_too(monkeypatch: pytest.MonkeyPatch, in_bf16: bool) -> None:
    monkeypatch.setattr(speed_probe.hardware, "cpu_has_bf16", lambda: in_bf16)
    monkeypatch.setattr(speed_probe, "_seconds", lambda network, in_bf16: 0.01 if in_bf16 else 0.02)
    speed = speed_probe.measure_processor()
    assert speed.separable / speed.separable_fp32 == pytest.approx(2 if in_bf16 else 1)


def test_the_probe_runs_the_operations_that_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operations(speed_probe._dense_network()) == 9 * 256**2 * 28**2 * 8
    assert operations(speed_probe._separable_network()) == (2 * 32 * 192 + 9 * 192) * 112**2 * 6
    monkeypatch.setattr(speed_probe, "SECONDS", 0.0)
    monkeypatch.setattr(speed_probe, "_DENSE", (8, 8, 1))
    monkeypatch.setattr(speed_probe, "_SEPARABLE", (4, 8, 8, 1))
    speed = speed_probe.measure_processor()
    assert speed.dense > 0 and speed.separable > 0 and speed.precision in ("fp32", "bf16")


def operations(network: ov.Model) -> int:
    """Multiply-accumulate operations of all convolutions of a network."""
    total = 0
    for node in network.get_ordered_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution"):
            out, weights = node.output(0).get_shape(), node.input(1).get_shape()
            one = weights[2:] if node.get_type_name() == "GroupConvolution" else weights[1:]
            pixels = out[1] * out[2] * out[3]
            for side in one:
                pixels *= side
            total += pixels
    return total


def test_the_models_of_the_tiers_are_in_the_table() -> None:
    named = [tier.name.split()[0].removeprefix("MODEL=") for tier in TIERS if tier.name.startswith("MODEL=")]
    assert set(named) <= set(model_zoo.read_models())


def test_what_does_not_ship_is_not_recommended() -> None:
    assert "RUN=" not in speed_tiers.describe_tiers(AMX, shipped=False)

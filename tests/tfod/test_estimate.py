import pytest

from scripts.tfod import compat, estimate


def test_a_step_costs_its_parts_however_small_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_seconds_of_convolution", lambda size, batch, bf16: batch * size**2 * 6e-9)
    monkeypatch.setattr(estimate, "_seconds_of_normalisation", lambda size, batch, bf16: batch * size**2 * 4.2e-9)
    monkeypatch.setattr(estimate, "_seconds_of_update", lambda: 0.017)

    def a_step(size: int, batch: int) -> float:
        return (
            estimate.training_seconds(size, batch, 1001, True) - estimate.training_seconds(size, batch, 1, True)
        ) / 1000

    # What was measured where these are about a convolution's, a normalisation's and an update's seconds.
    assert a_step(640, 2) == pytest.approx(1.30, rel=0.1)
    assert a_step(576, 3) == pytest.approx(1.54, rel=0.1)
    assert a_step(160, 4) == pytest.approx(0.33, rel=0.1)


def test_every_part_is_timed_on_this_machine() -> None:
    compat.install()
    small, large = (estimate._seconds_of_convolution(size, 1, False) for size in (64, 512))
    assert 0 < small < large
    small, large = (estimate._seconds_of_normalisation(size, 1, False) for size in (64, 512))
    assert 0 < small < large
    assert 0 < estimate._seconds_of_update() < 10

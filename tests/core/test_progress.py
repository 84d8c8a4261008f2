import io
import time

import pytest
from rich.console import Console

from facemask.core.progress import Progress, format_duration


def plain() -> tuple[Console, io.StringIO]:
    lines = io.StringIO()
    return Console(file=lines, force_terminal=False, width=200, highlight=False), lines


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (3540, "59 min"), (12_000, "3 h 20 min")]
)
def test_a_time_span_is_said_as_people_do(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_a_long_call_is_seen_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemask.core.progress._EVERY", 0.3)
    console, lines = plain()
    with Progress(10, 2, console) as progress:
        progress.phase("building the model")
        time.sleep(1.8)
    assert lines.getvalue().count("building the model ... ") >= 2


def test_the_line_holds_step_losses_rate_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress(100, 4, plain()[0])
    for step in range(1, 12):
        # The first step holds the tracing, which says nothing about the others.
        now[0] += 60 if step == 1 else 0.5
        progress.step(step, {"Loss/total_loss": 2.0}, learning_rate=0.001)
    assert progress.seconds_per_step == pytest.approx(0.5)
    line = progress.line()
    assert line.startswith("step 11/100  loss: total 2.000  learning rate 1.00e-03")
    assert line.endswith("2.00 steps/s  8.0 images/s  44 s left")


def test_losses_are_smoothed() -> None:
    progress = Progress(100, 4, plain()[0])
    progress.step(1, {"Loss/total_loss": 1.0}, 0.1)
    progress.step(2, {"Loss/total_loss": 11.0}, 0.1)
    assert "total 2.000" in progress.line()


def test_the_last_step_is_always_shown() -> None:
    console, lines = plain()
    with Progress(3, 2, console) as progress:
        for step in (1, 2, 3):
            progress.step(step, {"Loss/total_loss": 1.0}, 0.1)
    assert "step 3/3" in lines.getvalue()

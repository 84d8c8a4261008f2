"""Show the progress of a training run: one live line on a terminal, plain lines elsewhere."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

_EVERY = 5.0
_WINDOW = 20


class Progress:
    """Shows what training is doing, at least every five seconds, even while a long call blocks the main thread.

    Example:
        >>> with Progress(steps=1000, batch=8) as progress:
        ...     progress.phase("building the model")
        ...     progress.step(1, {"Loss/total_loss": 1.9}, learning_rate=0.001)
    """

    def __init__(self, steps: int, batch: int, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._steps = steps
        self._batch = batch
        self._phase = "starting"
        self._since = time.monotonic()
        self._times: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)
        self._smoothed: dict[str, float] = {}
        self._learning_rate = 0.0
        self._step = 0
        self._done = threading.Event()
        self._shown = 0.0
        self._live = Live(get_renderable=lambda: Text(self.line()), console=self.console, transient=True)
        self._thread = threading.Thread(target=self._tick, daemon=True, name="progress")

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        else:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self.console.is_terminal:
            self._live.stop()
        else:
            self._thread.join()

    def phase(self, what: str) -> None:
        """Show what is done before the next step, such as "building the model"."""
        self._phase, self._since = what, time.monotonic()
        self._times.clear()

    def print_line(self, line: str) -> None:
        """Print a line that stays on the terminal."""
        self.console.print(line, markup=False, soft_wrap=True)

    def step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        """Record that a step is done. Losses are smoothed exponentially, so that a single batch does not dominate."""
        if not self._times:
            self._times.append((self._since, step - 1))
        self._phase = ""
        self._step, self._learning_rate = step, learning_rate
        self._times.append((time.monotonic(), step))
        for name, value in losses.items():
            self._smoothed[name] = 0.9 * self._smoothed.get(name, value) + 0.1 * value
        if not self.console.is_terminal and (step == self._steps or time.monotonic() - self._shown >= _EVERY):
            self._show()

    @property
    def seconds_per_step(self) -> float | None:
        """Seconds a step over the last steps, or None before the second step."""
        if len(self._times) < 3:
            return None
        # The first interval holds tracing and graph optimisation.
        (start, first), (end, last) = self._times[1], self._times[-1]
        return (end - start) / (last - first)

    def line(self) -> str:
        """The current progress line."""
        if self._phase:
            return f"{self._phase} ... {time.monotonic() - self._since:.0f} s"
        losses = "  ".join(f"{name.split('/')[-1].removesuffix('_loss')} {x:.3f}" for name, x in self._smoothed.items())
        line = f"step {self._step}/{self._steps}  loss: {losses}  learning rate {self._learning_rate:.2e}"
        seconds = self.seconds_per_step
        if seconds is None:
            return line
        left = seconds * (self._steps - self._step)
        return f"{line}  {1 / seconds:.2f} steps/s  {self._batch / seconds:.1f} images/s  {format_duration(left)} left"

    def _show(self) -> None:
        self._shown = time.monotonic()
        self.print_line(self.line())

    def _tick(self) -> None:
        while not self._done.wait(0.5):
            if time.monotonic() - self._shown >= _EVERY:
                self._show()


def format_duration(seconds: float) -> str:
    """Format a time span as "45 s", "12 min" or "3 h 20 min".

    Example:
        >>> format_duration(12000)
        '3 h 20 min'
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

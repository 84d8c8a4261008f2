"""Moving averages of a model's weights during training, and how checkpoints store them.

The average of an optimizer's last weights is often better than the very last weights (Polyak and Juditsky 1992;
Izmailov et al. 2018, arXiv:1803.05407). The API has an option for it, but its exporter restores the raw weights.

A checkpoint stores the averages as `model`, because validation, `best/`, the export and further runs restore `model`.
It stores the raw weights, from which training continues, as `raw`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from facemask.core.errors import UserError

_RAW = "raw/"


class AveragedWeights:
    """Exponential moving averages of a model's weights and of its batch normalisation's statistics.

    With a decay of 0 there are no averages, and no method changes the model.

    Args:
        variables: The model's variables, trained or not.
        decay: The factor of the old average at each step, in [0, 1). 0.998 averages over about 500 steps.

    Attributes:
        variables: The averages. Inside a block of `as_model`, the raw weights.
    """

    def __init__(self, variables: Sequence[Any], decay: float) -> None:
        import tensorflow as tf

        self.decay = decay
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        # Each of several devices has its own statistics. Averaging them at each step would cost a transfer each.
        self._weights = [
            variable
            for variable in (variables if decay else [])
            if variable.dtype.is_floating
            and not (several and variable.synchronization == tf.VariableSynchronization.ON_READ)
        ]
        self.variables = [
            tf.Variable(variable.read_value(), trainable=False, name=f"average_{number}")
            for number, variable in enumerate(self._weights)
        ]
        self._update = tf.function(self._move)

    def parts(self) -> dict[str, Any]:
        """The arguments of `tf.train.Checkpoint` that store the raw weights, if there are averages."""
        import tensorflow as tf

        return {"raw": tf.train.Checkpoint(weights=self.variables)} if self.decay else {}

    def restore(self, checkpoint: Any, prefix: str) -> None:
        """Restore a run's checkpoint: the raw weights into the model, and the averages.

        If the run had no averages so far, they start at its weights.

        Args:
            checkpoint: The run's `tf.train.Checkpoint`, made with `parts`.
            prefix: The prefix of the saved checkpoint.

        Raises:
            UserError: The checkpoint contains averages, and the decay is 0.
        """
        import tensorflow as tf

        names = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        has_raw = any(name.startswith(_RAW) for name in names)
        if has_raw and not self.decay:
            raise UserError(
                f"{prefix}: contains averaged weights. AVERAGE=<decay>, such as 0.998, continues with them; FRESH=1 "
                "starts over."
            )
        status = checkpoint.restore(prefix)
        if has_raw or not self.decay:
            status.assert_existing_objects_matched()
            self._exchange()
        else:
            # Everything except the averages must be in the checkpoint; this checkpoint of the other parts asserts it.
            children = tf.train.TrackableView.children(checkpoint)
            others = {name: child for name, child in children.items() if name not in ("raw", "save_counter")}
            tf.train.Checkpoint(**others).restore(prefix).assert_existing_objects_matched()
            self.start()

    def start(self) -> None:
        """Start the averages at the model's present weights."""
        for weight, average in zip(self._weights, self.variables, strict=True):
            average.assign(weight.read_value())

    def update(self, step: int) -> None:
        """Update the averages with the model's weights after a step. Steps count from 1."""
        import tensorflow as tf

        if self.decay:
            # The decay is smaller in the first steps, as in tf.train.ExponentialMovingAverage.
            self._update(tf.constant(min(self.decay, (1 + step) / (10 + step)), tf.float32))

    @contextlib.contextmanager
    def as_model(self) -> Iterator[None]:
        """Exchange the model's weights for the averages inside this block, for saving and validating."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _move(self, decay: Any) -> None:
        for weight, average in zip(self._weights, self.variables, strict=True):
            average.assign(decay * average.read_value() + (1 - decay) * weight.read_value())

    def _exchange(self) -> None:
        for weight, other in zip(self._weights, self.variables, strict=True):
            value = weight.read_value()
            weight.assign(other.read_value())
            other.assign(value)

"""YuNet in LiteRT, with the methods of OpenVINO's `CompiledModel` and `InferRequest` that `yunet` uses.

The file, which `make small` writes, takes `pixels`, float32 (1, height, width, 3), BGR in 0..255, and gives the outputs
of the ONNX file that `yunet` decodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from facemask.core import litert_model
from facemask.core.errors import UserError


@dataclass
class LitertRequest:
    """One run of the network."""

    run: Callable[..., Mapping[str, np.ndarray]]
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def infer(self, inputs: Sequence[np.ndarray]) -> None:
        """Compute the outputs of one input, (1, 3, height, width)."""
        self.outputs = self.run(pixels=np.ascontiguousarray(inputs[0].transpose(0, 2, 3, 1)))

    def get_tensor(self, name: str) -> SimpleNamespace:
        """An output, as `data`."""
        return SimpleNamespace(data=self.outputs[name])


@dataclass(frozen=True)
class LitertYuNet:
    """The loaded network."""

    run: Callable[..., Mapping[str, np.ndarray]]

    def create_infer_request(self) -> LitertRequest:
        """A request, for one thread."""
        return LitertRequest(self.run)


def load_litert_yunet(path: Path) -> LitertYuNet:
    """Load the network.

    Raises:
        UserError: LiteRT is not installed, or the file is missing, damaged or not YuNet's network.
    """
    run = litert_model.load_litert(path, "`make small` writes such a file.")
    try:
        outputs = run(pixels=np.zeros((1, 32, 32, 3), np.float32))
    except ValueError:  # another input
        outputs = {}
    if "bbox_8" not in outputs:
        raise UserError(f"{path}: is not YuNet's network as `make small` writes it.")
    return LitertYuNet(run)

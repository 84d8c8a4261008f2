"""An exported model's folder: what `make export` writes and every detector reads. Imports no TensorFlow.

workspace/exported/<RUN>/
    saved_model/      TensorFlow's SavedModel, as the API's exporter writes it
    openvino/ ...     other formats, where they were exported (`facemask/detect/backends`)
    checkpoint/       its variables, for further training
    pipeline.config   the API's configuration
    label_map.pbtxt   classes and their ids
    model.json        the model's description and provenance (`ExportedModel`)
    sizes/640/ ...    the same model with other input sizes, each an exported model too, if there are several
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemask.core import json_files
from facemask.core.files import write_json
from facemask.core.label_map import LabelMap
from facemask.core.run_names import no_detector

FORMAT = 1
NAME = "model.json"
SIZES = "sizes"
"""The folder of the further input sizes, in the exported model's."""


@dataclass(frozen=True)
class ExportedModel:
    """The contents of `model.json`.

    Attributes:
        folder: The exported model's folder.
        model: The architecture, as the model zoo names it.
        label_map: The classes.
        height: Height in pixels to which the model resizes every picture.
        width: Width in pixels to which the model resizes every picture.
        run: The training run it comes from.
        steps: The steps it was trained for; None if the checkpoint does not hold the number.
        config_sha256: Digest of the run's pipeline.config.
        thresholds: The default threshold of each class, by name: the lowest score, in 0..1, of a box that counts. It is
            the score with the highest F1 on val. A class without one is not in the mapping.
    """

    folder: Path
    model: str
    label_map: LabelMap
    height: int
    width: int
    run: str
    steps: int | None
    config_sha256: str
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def saved_model(self) -> Path:
        """The folder of the SavedModel."""
        return self.folder / "saved_model"

    @property
    def openvino(self) -> Path:
        """The folder of the OpenVINO format; it exists only if that format was exported."""
        return self.folder / "openvino"

    @property
    def keeps_aspect_ratio(self) -> bool:
        """Whether the model pads pictures instead of squeezing them, as EfficientDet does. The shipped SSD, which comes
        without `pipeline.config`, does not.
        """
        config = self.folder / "pipeline.config"
        return config.is_file() and "keep_aspect_ratio_resizer" in config.read_text(encoding="utf-8")

    def write(self, made: dict[str, Any]) -> None:
        """Write `model.json` into the folder; `made` is its provenance, from `provenance.made_by`."""
        value = {
            "format": FORMAT,
            "model": self.model,
            "classes": list(self.label_map.names),
            "input": {"height": self.height, "width": self.width},
            "run": self.run,
            "steps": self.steps,
            "config_sha256": self.config_sha256,
            "thresholds": dict(self.thresholds),
            "made": made,
        }
        write_json(self.folder / NAME, value)


def read_exported_model(folder: Path) -> ExportedModel:
    """Read an exported model's `model.json`.

    Raises:
        UserError: There is no exported model in `folder`, or `model.json` is not what `make export` writes.
    """
    path = folder / NAME
    absent = no_detector(folder) or f"{folder}: no exported model. `make export RUN={folder.name}` exports the run."
    with json_files.reading_json(path, FORMAT, step="export", absent=absent, again="Run `make export` again.") as value:
        return ExportedModel(
            folder=folder,
            model=str(value["model"]),
            label_map=LabelMap(tuple(str(name) for name in value["classes"])),
            height=int(value["input"]["height"]),
            width=int(value["input"]["width"]),
            run=str(value["run"]),
            steps=None if value["steps"] is None else int(value["steps"]),
            config_sha256=str(value["config_sha256"]),
            thresholds={str(name): float(score) for name, score in value.get("thresholds", {}).items()},
        )


def read_input_sizes(folder: Path) -> list[ExportedModel]:
    """An exported model, and the same with the other input sizes at which it looks at each picture.

    Raises:
        UserError: See `read_exported_model`.
    """
    others = sorted(path.parent for path in (folder / SIZES).glob(f"*/{NAME}"))
    return [read_exported_model(one) for one in (folder, *others)]


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / NAME).is_file()


def exported_runs(exported: Path) -> list[str]:
    """The names of the exported models in a folder of exports, in alphabetical order."""
    return sorted(path.parent.name for path in exported.glob(f"*/{NAME}"))

"""An exported model's folder: what `make export` writes and every detector reads. Imports no TensorFlow.

workspace/exported/<RUN>/
    saved_model/      TensorFlow's SavedModel, as the API's exporter writes it
    openvino/ ...     other formats, where they were exported (`detect.converting`, and `detect.formats.int8`)
    checkpoint/       its variables, to train on from
    pipeline.config   the API's configuration
    label_map.pbtxt   classes and their ids
    model.json        what it is and what made it (`ExportedModel`)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.dataset.label_map import LabelMap
from scripts.support import written
from scripts.support.files import write_json

FORMAT = 1


@dataclass(frozen=True)
class ExportedModel:
    """What `model.json` says.

    Attributes:
        folder: The exported model's folder.
        model: The architecture, as the model zoo names it.
        label_map: The classes.
        height: Height in pixels to which the model resizes every picture.
        width: Width likewise.
        run: The training run it comes from.
        steps: The steps it was trained for; None where the checkpoint does not say.
        config_sha256: Digest of the run's pipeline.config.
    """

    folder: Path
    model: str
    label_map: LabelMap
    height: int
    width: int
    run: str
    steps: int | None
    config_sha256: str

    @property
    def saved_model(self) -> Path:
        """The folder of the SavedModel."""
        return self.folder / "saved_model"

    @property
    def openvino(self) -> Path:
        """The folder of the OpenVINO form, where it was exported."""
        return self.folder / "openvino"

    def write(self, made: dict[str, Any]) -> None:
        """Write `model.json` into the folder; `made` is what `provenance.made_by` says of it."""
        value = {
            "format": FORMAT,
            "model": self.model,
            "classes": list(self.label_map.names),
            "input": {"height": self.height, "width": self.width},
            "run": self.run,
            "steps": self.steps,
            "config_sha256": self.config_sha256,
            "made": made,
        }
        write_json(self.folder / "model.json", value)


def read(folder: Path) -> ExportedModel:
    """Read an exported model's `model.json`.

    Raises:
        UserError: There is no exported model in `folder`, or `model.json` is not what `make export` writes.
    """
    path = folder / "model.json"
    absent = f"{folder}: no exported model. `make export RUN={folder.name}` makes one of the run."
    with written.reading(path, FORMAT, step="export", absent=absent, again="Run `make export` again.") as value:
        return ExportedModel(
            folder=folder,
            model=str(value["model"]),
            label_map=LabelMap(tuple(str(name) for name in value["classes"])),
            height=int(value["input"]["height"]),
            width=int(value["input"]["width"]),
            run=str(value["run"]),
            steps=None if value["steps"] is None else int(value["steps"]),
            config_sha256=str(value["config_sha256"]),
        )

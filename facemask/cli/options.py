"""The options that several steps share, each with its help and its default. Imports nothing heavy.

A step declares `run: options.TrainingRun = options.RUN`. An option of a single step is defined in that step's file.

`DetectorOptions` is a group of options. A step that has a parameter of this type and is decorated with `expand_groups`
gets each field as an option.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from facemask.detect.detector_choice import DetectorChoice

POSITIONAL = "positional"
"""Marks an option in its `Annotated`: `facemask <step>` also accepts its value without the option's name."""


# ---- folders ----

Images = Annotated[Path, typer.Option(help="Folder of the images, each with its Pascal VOC XML beside it.")]
IMAGES = Path("workspace/images")

Annotations = Annotated[Path, typer.Option(help="Folder of the label map and the records.")]
ANNOTATIONS = Path("annotations")

Models = Annotated[Path, typer.Option(help="Folder of the training runs.")]
MODELS = Path("workspace/models")

Exported = Annotated[Path, typer.Option(help="Folder of the exported models.")]
EXPORTED = Path("workspace/exported")

Predictions = Annotated[Path, typer.Option(help="Folder of the predictions.")]
PREDICTIONS = Path("workspace/predictions")

Reports = Annotated[Path, typer.Option(help="Folder of the reports.")]
REPORTS = Path("workspace/reports")


# ---- servers ----

Host = Annotated[str, typer.Option(help="Address to listen on. 0.0.0.0 accepts everyone who can reach this machine.")]
HOST = "127.0.0.1"


# ---- data ----

Classes = Annotated[
    Path | None, typer.Option(help="The class list: one name a line. Default: configs/classes.txt.", show_default=False)
]
CLASSES = None

Shares = Annotated[
    str, typer.Option(help="Shares of train, val and test among the images outside train/, val/ and test/.")
]
SHARES = "70,15,15"

LookAlikes = Annotated[
    str, typer.Option(help="together keeps pictures that look alike in one split, apart assigns each on its own.")
]
LOOK_ALIKES = "together"

Processes = Annotated[int, typer.Option(help="Number of processes that read images; 0: one for each core.", min=0)]
PROCESSES = 0

Seed = Annotated[int, typer.Option(help="Random seed; the same seed gives the same result.", min=0)]
SEED = 0


Repeat = Annotated[str, typer.Option(help="Repeat the images of a rare class in train: CLASS=4[,CLASS=2].")]
REPEAT = ""


# ---- evaluating ----

Draws = Annotated[int, typer.Option(help="Number of bootstrap samples for the confidence intervals.", min=100)]
DRAWS = 1000


# ---- training ----

TrainingRun = Annotated[str, typer.Option(help="Name of the training run.")]
ResumedRun = Annotated[str, typer.Option(help="Name of the run. An unfinished run of this name is continued.")]
ExportedRun = Annotated[str, typer.Option(help="Name of the exported run.")]
RUN = "default"
FAST = "ready-fast"
"""The shipped detector for cameras, videos and pages."""

Model = Annotated[str, typer.Option(help="Name of a model in configs/models.yaml.")]
MODEL = "ssd_resnet50_v1_fpn_640x640"

InputSize = Annotated[int | None, typer.Option(help="Side of the input in pixels. Default: the model's own.")]

AnchorScale = Annotated[
    float, typer.Option(help="The model's anchor scale. 2 covers small faces; the zoo uses 4.", min=0.1, max=100)
]
ANCHOR_SCALE = 2.0

Augment = Annotated[
    str, typer.Option(help="Name of a preset in configs/augmentations: none, flip, light, strong, zoom.")
]
AUGMENT = "light"

Fresh = Annotated[bool, typer.Option("--fresh", help="Remove the run's checkpoints and start over.")]


class ComputePrecision(str, Enum):
    """The precision in which training computes."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


TrainingPrecision = Annotated[
    ComputePrecision, typer.Option(help="Precision of training; auto uses bf16 if it is faster on this machine.")
]
TRAINING_PRECISION = ComputePrecision.AUTO


# ---- detecting ----

Threshold = Annotated[
    str,
    typer.Option(
        help="Lowest score of a reported box: empty (for each class the one that the exported model carries, or else "
        "0.5); a number; best (for each class the threshold with the highest F1 in the evaluation of this detector); "
        "or the metrics.json of another evaluation."
    ),
]
THRESHOLD = ""


def _check_sizes(text: str) -> str:
    """Refuse sizes that cannot be read while the options are read, before a step begins."""
    from facemask.core.errors import UserError
    from facemask.detect.face_sizes import parse_sizes

    try:
        parse_sizes(text)
    except UserError as error:
        raise typer.BadParameter(str(error).removeprefix(f"FACES_SIZE={text}: ")) from None
    return text


@dataclasses.dataclass(frozen=True)
class DetectorOptions:
    """The options that choose the detector."""

    run: Annotated[
        str,
        typer.Option(
            help="Name of the exported run, or ready, ready-fast or ready-ssd (which come with facemask). Empty: "
            f"{RUN}; where no model was exported, {FAST} for cameras and videos, else ready."
        ),
    ] = ""
    detector: Annotated[
        str,
        typer.Option(
            help="Empty or ssd (the exported run), two_stage (a face detector and a classifier), rescored (the "
            "exported run with boxes rescored by the classifier), or fused (rescored and two_stage combined)."
        ),
    ] = ""
    faces: Annotated[
        str, typer.Option(help="The face detector: yunet, res10, haar, or for two_stage also ssd (the exported run).")
    ] = "yunet"
    faces_model: Annotated[
        Path | None,
        typer.Option(
            help="Your own model file for FACES, or ready: the yunet that comes with facemask and was trained on faces "
            "with masks. Default: the published file; that of yunet comes with facemask too."
        ),
    ] = None
    faces_size: Annotated[
        str,
        typer.Option(
            callback=_check_sizes,
            help="Longer side in pixels to which pictures are scaled for FACES. Empty: its default. 960,1280: yunet "
            "searches at both, which finds more faces in twice to three times the time.",
        ),
    ] = ""
    classifier: Annotated[
        str,
        typer.Option(
            help="Name of the classifier for two_stage, rescored and fused. The probabilities of several, separated by "
            "commas, are averaged."
        ),
    ] = "classifier"
    runtime: Annotated[
        str,
        typer.Option(help="Runtime of the model: auto (the fastest available), openvino, onnx, tflite, tensorflow."),
    ] = "auto"
    precision: Annotated[
        str, typer.Option(help="Precision of the model: auto, fp32, bf16, int8; auto never selects int8.")
    ] = "auto"
    exported: Exported = EXPORTED

    def choice(self, *, moving: bool = False) -> "DetectorChoice":
        """The same values as a `DetectorChoice`.

        Args:
            moving: It is for a camera or a video. Where nobody named a run and none was exported, it takes the fast
                form of the shipped detector.
        """
        from facemask.detect.detector_choice import DetectorChoice
        from facemask.detect.face_sizes import parse_sizes

        values = {name: value for name, value in vars(self).items() if name != "faces_size"}
        values |= {"run": self.run or RUN, "run_was_named": bool(self.run)}
        if moving:
            values["unnamed"] = FAST
        return DetectorChoice(**values, faces_sizes=parse_sizes(self.faces_size))


DETECTOR = DetectorOptions()


def expand_groups(step: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a step that is a dataclass of options by the fields of that dataclass.

    Example:
        >>> @expand_groups
        ... def main(detector: DetectorOptions, threshold: Threshold = THRESHOLD) -> None: ...
        >>> list(inspect.signature(main).parameters)[-2:]
        ['exported', 'threshold']
        >>> main(faces="haar", threshold="0.3")
    """
    signature = inspect.signature(step)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if dataclasses.is_dataclass(parameter.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in groups:
            parameters += [
                inspect.Parameter(field.name, parameter.kind, default=field.default, annotation=field.type)
                for field in dataclasses.fields(groups[name])
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(step)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group) if field.name in values]
            values[name] = group(**{field: values.pop(field) for field in fields})
        step(**values)

    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return expanded

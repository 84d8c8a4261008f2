"""The pipeline config of a run: the settings, and the template in `configs/` that they fill.

The rendered text is the API's `TrainEvalPipelineConfig`, so every tool that reads the API's configs can read it.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core.config_files import search_path
from facemask.core.errors import UserError

_WARM_UP = 0.04
# The API's ResNet FPN refuses sides under 129 px (models/ssd_resnet_v1_fpn_keras_feature_extractor.py).
_SMALLEST_INPUT = 160
_MAY_CHANGE = (".post_processing.", ".batch_norm.decay", ".regularizer.")
"""Parts of a model's config that may change during a run, because the meaning of its weights does not depend on them.
The batch norm decay follows from STEPS, so it changes when a run is extended."""
_OF_HEADS = ("head_depth", "head_layers")
_ZOO_RATE_PER_IMAGE = {"momentum": 0.04 / 64, "adam": 0.001 / 8}


@dataclass(frozen=True)
class Settings:
    """The values that a template may use, by the names of these fields.

    Attributes:
        num_classes: Number of classes in the label map.
        size: Side of the square input in pixels, a multiple of 32 (the coarsest stride that FPN upsamples).
        steps: Total number of training steps, at which the cosine decay ends.
        batch: Images per step.
        optimizer: "momentum" (the zoo's, 0.9) or "adam".
        learning_rate: Rate at the end of the warm-up; `base_learning_rate` gives the zoo's for this batch size.
        warmup_learning_rate: Rate at step 0.
        warmup_steps: Steps of linear warm-up, at most `steps`.
        anchor_scale: Side of the smallest square anchor, in units of its level's stride (8 px at level 3).
        weight_decay: Weight of the L2 loss of every kernel; the zoo's is 0.0004.
        batch_norm_decay: Decay of batch normalisation's moving averages, in (0, 1).
        clip_gradients: The largest norm of all gradients together; 0 for no clipping.
        augment: Name of a preset in `configs/augmentations/`.
        max_boxes: The most boxes per picture that training and evaluation use.
        max_detections: The most detections per picture that the model returns.
        label_map: Path of the label map.
        train_records: Paths of the training records.
        eval_records: Paths of the records that the API's evaluation reads.
        records_digest: Digest of the records, which identifies them.
        head_depth: Channels of the convolutions in the heads; None for the template's own number.
        head_layers: Convolutions in each head before the one that predicts; None for the template's own number.
    """

    num_classes: int
    size: int
    steps: int
    batch: int
    optimizer: str
    learning_rate: float
    warmup_learning_rate: float
    warmup_steps: int
    anchor_scale: float
    weight_decay: float
    batch_norm_decay: float
    clip_gradients: float
    augment: str
    max_boxes: int
    max_detections: int
    label_map: str
    train_records: tuple[str, ...]
    eval_records: tuple[str, ...]
    records_digest: str
    head_depth: int | None = None
    head_layers: int | None = None

    def __post_init__(self) -> None:
        """Raise UserError, which names the option, for a value that the API would accept but cannot train with."""
        refuse_input_size(self.size)
        for name in ("steps", "batch", "num_classes", "max_boxes", "max_detections", *_OF_HEADS):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name.upper()}={value}: must be at least 1.")
        for name in ("learning_rate", "anchor_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name.upper()}={value}: must be a number above 0.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UserError(f"WEIGHT_DECAY={self.weight_decay}: must be 0 or a number above 0.")
        if not 0 < self.batch_norm_decay < 1:
            raise UserError(f"BATCH_NORM_DECAY={self.batch_norm_decay}: must be between 0 and 1.")
        if not (math.isfinite(self.clip_gradients) and self.clip_gradients >= 0):
            raise UserError(f"CLIP_GRADIENTS={self.clip_gradients}: must be 0 (off) or a number above 0.")
        if self.optimizer not in _ZOO_RATE_PER_IMAGE:
            raise UserError(f"OPTIMIZER={self.optimizer}: must be one of {', '.join(_ZOO_RATE_PER_IMAGE)}.")
        if not 0 <= self.warmup_steps <= self.steps:
            raise UserError(f"WARMUP_STEPS={self.warmup_steps}: must be from 0 to STEPS ({self.steps}).")


def refuse_input_size(size: int) -> None:
    """Raise a UserError if no model of ours can have an input of this side in pixels."""
    if size % 32 or size < _SMALLEST_INPUT:
        raise UserError(f"SIZE={size}: the input's side must be a multiple of 32, at least {_SMALLEST_INPUT}.")


def base_learning_rate(batch: int, optimizer: str) -> float:
    """The learning rate for a batch size, by linear scaling (Goyal et al. 2017, arXiv:1706.02677).

    momentum scales the zoo's 0.04 at batch 64 (its pipeline.config of ssd_resnet50_v1_fpn_640x640_coco17_tpu-8); adam
    scales 0.001, Adam's usual rate, at batch 8.

    Example:
        >>> base_learning_rate(64, "momentum")
        0.04
    """
    if optimizer not in _ZOO_RATE_PER_IMAGE:
        raise UserError(f"OPTIMIZER={optimizer}: must be one of {', '.join(_ZOO_RATE_PER_IMAGE)}.")
    return round(_ZOO_RATE_PER_IMAGE[optimizer] * batch, 8)


def usual_warm_up(steps: int, learning_rate: float) -> tuple[int, float]:
    """The usual warm-up steps, 4% of all steps and at most 2,000, and the rate at step 0, a third of the rate.

    The zoo's config warms up for 2,000 of 25,000 steps (8%) from 0.013333 to 0.04. Short runs would lose too many steps
    to a warm-up of 8%.
    """
    return min(2000, int(steps * _WARM_UP)), learning_rate / 3


def render_template(template: Path, settings: Settings) -> str:
    """Fill a template with a run's settings.

    Raises:
        UserError: The template is missing, is not valid Jinja2, uses a name that `Settings` does not have, or does not
            use a number of the heads that the settings have.
    """
    import jinja2
    from jinja2 import meta

    loader = jinja2.FileSystemLoader(search_path(template.parent))
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters |= {"text": _text, "files": lambda path: _text(_as_pattern(path))}
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    try:
        source, _, _ = environment.loader.get_source(environment, template.name)  # type: ignore[union-attr]
        used = meta.find_undeclared_variables(environment.parse(source))
        if unknown := used - values.keys():
            raise UserError(f"{template}: uses {', '.join(sorted(unknown))}, but no setting has such a name.")
        for name in _OF_HEADS:
            if values[name] is not None and name not in used:
                raise UserError(
                    f"{name.upper()}={values[name]}: {template} has its own number. It does not use {name}."
                )
        return environment.get_template(template.name).render(values)
    except jinja2.TemplateNotFound as error:
        if str(error.name).startswith("augmentations/"):
            found = [Path(name) for name in environment.list_templates(extensions=["j2"])]
            presets = [path.name.removesuffix(".config.j2") for path in found if path.parent.name == "augmentations"]
            raise UserError(f"AUGMENT={settings.augment}: must be one of {', '.join(presets)}.") from None
        raise UserError(f"{template}: no such template.") from None
    except jinja2.TemplateError as error:
        raise UserError(f"{template}: {error.message} (line {getattr(error, 'lineno', '?')}).") from None


def make_config(template: Path, settings: Settings) -> Any:
    """Render a template and parse it as the API's `TrainEvalPipelineConfig`. Raises UserError."""
    return parse_config(render_template(template, settings), template)


def config_to_text(config: Any) -> str:
    """Format a `TrainEvalPipelineConfig` as the text of a `pipeline.config` file."""
    from google.protobuf import text_format

    return text_format.MessageToString(config, as_utf8=True)


def parse_config(text: str, source: Path) -> Any:
    """Parse a config's text as the API's `TrainEvalPipelineConfig`.

    Args:
        text: The config in protobuf's text format.
        source: The file that error messages name.

    Raises:
        UserError: The text has a field or value that the API does not know. The message names its line.
    """
    from facemask.tfod import compat

    compat.install()
    from google.protobuf import text_format
    from object_detection.protos import pipeline_pb2

    try:
        return text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    except text_format.ParseError as error:
        raise UserError(f"{source}: not a pipeline config of the API: {error}") from None


def read_config(path: Path) -> Any:
    """Read a `pipeline.config` file as the API's `TrainEvalPipelineConfig`. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    return parse_config(text, path)


def head_of(config: Any) -> tuple[int, int] | None:
    """The heads of a `TrainEvalPipelineConfig`'s model: their `Settings.head_depth` and `head_layers`.

    None for a box predictor of another kind than that of all templates here.
    """
    predictor = config.model.ssd.box_predictor
    if predictor.WhichOneof("box_predictor_oneof") != "weight_shared_convolutional_box_predictor":
        return None
    shared = predictor.weight_shared_convolutional_box_predictor
    return shared.depth, shared.num_layers_before_predictor


def anchor_scale_of(config: Any) -> float:
    """The `Settings.anchor_scale` of a `TrainEvalPipelineConfig`."""
    return float(config.model.ssd.anchor_generator.multiscale_anchor_generator.anchor_scale)


def model_differences(old: Any, new: Any) -> list[str]:
    """List the differences between two models because of which one cannot continue from the other's checkpoint.

    Args:
        old: The `TrainEvalPipelineConfig` that the checkpoint was made with.
        new: The `TrainEvalPipelineConfig` to continue with.

    Returns:
        Lines such as "model.ssd.num_classes: 3 -> 2"; empty if training can continue. Differences in regularisation,
        batch norm decay and post-processing are left out, because they may change during a run.
    """
    before, after = _leaves(old.model, "model"), _leaves(new.model, "model")
    told = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name) or any(part in name for part in _MAY_CHANGE):
            continue
        told.append(f"{name}: {before.get(name, 'not set')} -> {after.get(name, 'not set')}")
    return told


def _leaves(message: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        several = list(value) if field.is_repeated else [value]
        for i, one in enumerate(several):
            place = f"{name}.{field.name}" + (f"[{i}]" if len(several) > 1 else "")
            if field.message_type is None:
                found[place] = one
            else:
                found[place] = "set"
                found |= _leaves(one, place)
    return found


def _text(value: str) -> str:
    """A quoted string of protobuf's text format, which accepts the escapes of JSON."""
    return json.dumps(value, ensure_ascii=False)


def _as_pattern(path: str) -> str:
    """Escape a path, because the API's reader takes `input_path` as a glob pattern."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)

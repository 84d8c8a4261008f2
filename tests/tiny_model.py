"""A detector small enough to be made and exported within a test: MobileNet V1 at a quarter of its width, 128 px."""

import json
from pathlib import Path

CLASSES = ["with_mask", "without_mask", "mask_weared_incorrect"]

CONFIG = """
model { ssd {
  num_classes: 3
  image_resizer { fixed_shape_resizer { height: 128 width: 128 } }
  feature_extractor {
    type: "ssd_mobilenet_v1_fpn_keras"
    depth_multiplier: 0.25
    min_depth: 8
    use_depthwise: true
    fpn { min_level: 3 max_level: 5 additional_layer_depth: 16 }
    override_base_feature_extractor_hyperparams: true
    conv_hyperparams {
      regularizer { l2_regularizer { weight: 4e-5 } }
      initializer { truncated_normal_initializer { stddev: 0.3 } }
      activation: RELU_6
      batch_norm { decay: 0.9 scale: true epsilon: 0.001 }
    }
  }
  box_coder { faster_rcnn_box_coder { y_scale: 10 x_scale: 10 height_scale: 5 width_scale: 5 } }
  matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5 } }
  similarity_calculator { iou_similarity {} }
  box_predictor { weight_shared_convolutional_box_predictor {
    depth: 16 num_layers_before_predictor: 1 kernel_size: 3 class_prediction_bias_init: -1 use_depthwise: true
    conv_hyperparams {
      regularizer { l2_regularizer { weight: 4e-5 } }
      initializer { random_normal_initializer { stddev: 0.6 } }
      activation: RELU_6
      batch_norm { decay: 0.9 scale: true epsilon: 0.001 }
    }
  } }
  anchor_generator { multiscale_anchor_generator {
    min_level: 3 max_level: 5 anchor_scale: 4 aspect_ratios: 1 scales_per_octave: 1
  } }
  post_processing {
    batch_non_max_suppression {
      score_threshold: 1e-8 iou_threshold: 0.6 max_detections_per_class: 20 max_total_detections: 20
    }
    score_converter: SIGMOID
  }
  loss {
    localization_loss { weighted_smooth_l1 {} }
    classification_loss { weighted_sigmoid_focal { gamma: 2 alpha: 0.25 } }
    classification_weight: 1
    localization_weight: 1
  }
  encode_background_as_zeros: true
} }
train_config { batch_size: 1 }
"""


def write_run(folder: Path, config: str = CONFIG, classes: list[str] = CLASSES) -> None:
    """A run's folder as `make train` leaves it, but for its checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.config").write_text(config, encoding="utf-8")
    run = {"format": 1, "classes": classes, "model": "tiny", "records_digest": "none"}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")


def build(config: str = CONFIG, called: bool = True):
    """The model as it is while it trains, its variables random; before it is called, it has none."""
    from facemask.tfod import compat, pipeline_config

    compat.install()
    import tensorflow as tf
    from object_detection.builders import model_builder

    tf.keras.utils.set_random_seed(0)
    model = model_builder.build(pipeline_config.parse_config(config, Path("tiny")).model, is_training=True)
    if called:
        model.predict(*model.preprocess(tf.random.uniform([1, 128, 128, 3]) * 255))
    return model


def save_checkpoint(folder: Path, model, steps: int) -> str:
    """A checkpoint with what the API's train_loop saves: the step, the model, and the optimizer with its slots."""
    import tensorflow as tf

    optimizer = tf.keras.optimizers.legacy.SGD(0.01, momentum=0.9)
    if model._box_predictor.built:
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])
    checkpoint = tf.train.Checkpoint(step=tf.Variable(steps, dtype=tf.int64), model=model, optimizer=optimizer)
    return tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=5).save()

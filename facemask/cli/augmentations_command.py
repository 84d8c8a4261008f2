"""Draw training pictures as the model sees them after augmentation."""

from typing import Annotated

import typer

from facemask.cli import options


def main(
    augment: options.Augment = options.AUGMENT,
    model: options.Model = options.MODEL,
    size: options.InputSize = None,
    pictures: Annotated[int, typer.Option(help="Number of pictures, one in each row.", min=1, max=20)] = 4,
    draws: Annotated[int, typer.Option(help="Number of augmented versions beside each picture.", min=1, max=20)] = 5,
    seed: options.Seed = options.SEED,
    annotations: options.Annotations = options.ANNOTATIONS,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Draw a grid of training pictures with their boxes to <reports>/augmentations-<preset>.png.

    The first column shows the picture unchanged, the others show it augmented. All go through the API's own input
    pipeline.
    """
    from PIL import Image

    from facemask.core.files import replacing_file, write_json
    from facemask.core.label_map import LabelMap
    from facemask.core.provenance import made_by
    from facemask.data import manifest
    from facemask.media import picture_grid
    from facemask.tfod import augmented_examples, model_zoo, pipeline_config, training_runs

    records = manifest.read_manifest(annotations)
    of_model = model_zoo.find_model(model)
    side = size or of_model.size
    examples = augmented_examples.choose_varied_examples(records, annotations, pictures)

    def seen(preset: str, count: int) -> list[list[augmented_examples.AugmentedPicture]]:
        settings = training_runs.make_settings(
            records, annotations, annotations, size=side, steps=1, batch=1, augment=preset
        )
        config = pipeline_config.make_config(of_model.template, settings)
        return augmented_examples.draw_augmented(examples, config, count, seed)

    rows = [plain + drawn for plain, drawn in zip(seen("none", 1), seen(augment, draws), strict=True)]
    cells = [[(one.image, one.boxes, one.class_ids) for one in row] for row in rows]
    path = reports / f"augmentations-{augment}.png"
    title = f"AUGMENT={augment}, {side} px; left: unchanged"
    with replacing_file(path) as beside:
        sheet = picture_grid.draw_picture_grid(cells, title, LabelMap(records.classes), side=min(side, 320))
        Image.fromarray(sheet).save(beside, "PNG")
    made = made_by("augmentations", augment=augment, model=model, size=side, pictures=pictures, draws=draws, seed=seed)
    write_json(path.with_suffix(".json"), made)
    print(path)

"""`make augmentations`: a picture of what the model really sees in training."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    augment: Annotated[str, typer.Option(help="A preset of configs/augmentations: none, flip, light, strong.")] = (
        "light"
    ),
    model: Annotated[str, typer.Option(help="A model of configs/models.yaml.")] = "ssd_resnet50_v1_fpn_640x640",
    size: Annotated[int | None, typer.Option(help="Side of the input in pixels. Default: the model's own.")] = None,
    pictures: Annotated[int, typer.Option(help="Pictures, one a row.", min=1, max=20)] = 4,
    draws: Annotated[int, typer.Option(help="Draws of each, beside the picture itself.", min=1, max=20)] = 5,
    seed: Annotated[int, typer.Option(help="Seeds the augmentation.")] = 0,
    annotations: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("annotations"),
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("workspace/reports"),
) -> None:
    """Draw a grid of training pictures with their boxes to <reports>/augmentations-<preset>.png.

    The first column is the picture as it is, the others are draws of the preset, all through the API's own input
    pipeline.
    """
    from PIL import Image

    from scripts.dataset import manifest
    from scripts.dataset.label_map import LabelMap
    from scripts.media import grid
    from scripts.support.files import replacing, write_json
    from scripts.support.provenance import made_by
    from scripts.tfod import augmented, runs, zoo

    records = manifest.read(annotations)
    of_model = zoo.find_model(model)
    side = size or of_model.size
    examples = augmented.most_varied(records, annotations, pictures)

    def seen(preset: str, count: int) -> list[list[augmented.Seen]]:
        choices = runs.Choices(size=side, steps=1, batch=1, augment=preset)
        return augmented.draws(examples, of_model.template, choices, records, annotations, count, seed)

    rows = [plain + drawn for plain, drawn in zip(seen("none", 1), seen(augment, draws), strict=True)]
    cells = [[(one.image, one.boxes, one.class_ids) for one in row] for row in rows]
    path = reports / f"augmentations-{augment}.png"
    title = f"AUGMENT={augment}, {side} px; left as it is"
    with replacing(path) as beside:
        sheet = grid.draw(cells, title, LabelMap(records.classes), side=min(side, 320))
        Image.fromarray(sheet).save(beside, "PNG")
    made = made_by("augmentations", augment=augment, model=model, size=side, pictures=pictures, draws=draws, seed=seed)
    write_json(path.with_suffix(".json"), made)
    print(path)


if __name__ == "__main__":
    command.run(main)

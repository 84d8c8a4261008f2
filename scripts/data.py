"""`make data`: bring the public data set, to train on when there are no photographs of one's own yet."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    images: Annotated[Path, typer.Option(help="Folder for the images and their XML files.")] = Path("workspace/images"),
    archive: Annotated[
        str, typer.Option(help="Kaggle's zip file, downloaded by hand (or a folder with its content).")
    ] = "",
) -> None:
    """Bring Face Mask Detection from Kaggle (853 photographs, Pascal VOC, CC0) into the folder of images."""
    from scripts.dataset import kaggle
    from scripts.support.files import write_json
    from scripts.support.provenance import made_by

    summary = kaggle.install(Path(archive) if archive else kaggle.download(), images)
    write_json(images / "data.json", {"digest": summary.digest, "made": made_by("data", dataset=kaggle.HANDLE)})
    print(summary.text())


if __name__ == "__main__":
    command.run(main)

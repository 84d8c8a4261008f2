"""Download the public data set from Kaggle."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    images: options.Images = options.IMAGES,
    archive: Annotated[
        Path | None, typer.Option(help="Kaggle's zip file, downloaded by hand (or a folder with its content).")
    ] = None,
) -> None:
    """Download Face Mask Detection from Kaggle (853 photographs, Pascal VOC, CC0) to the folder of images."""
    from facemask.core.files import write_json
    from facemask.core.provenance import made_by
    from facemask.data import kaggle

    summary = kaggle.install_dataset(archive or kaggle.download_dataset(), images)
    write_json(images / "data.json", {"digest": summary.digest, "made": made_by("data", dataset=kaggle.HANDLE)})
    print(summary.text())

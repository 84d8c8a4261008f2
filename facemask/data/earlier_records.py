"""Read what earlier records left in their folder: `inputs.json`, and the split of each picture."""

import csv
import json
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.data.splits import SPLITS, Proportions

INPUTS = "inputs.json"
FORMAT = 1
TABLE = "boxes.csv"


def read_inputs(annotations: Path) -> dict[str, Any]:
    """The contents of `inputs.json`; empty if there is no such file in this format."""
    try:
        value = json.loads((annotations / INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and value.get("format") == FORMAT else {}


def earlier_options(annotations: Path) -> tuple[Proportions, bool]:
    """The proportions of earlier records, and whether they kept look-alikes in one split; without any, the defaults."""
    inputs = read_inputs(annotations)
    proportions = Proportions(*inputs["proportions"]) if "proportions" in inputs else Proportions()
    return proportions, inputs.get("look_alikes_together", True)


def assigned_splits(annotations: Path, proportions: Proportions) -> tuple[dict[str, str], bool]:
    """The splits that pictures keep from earlier records, by name.

    Returns:
        The splits from `boxes.csv`, and whether the earlier records had other proportions. The splits are empty if they
        had, or if there is no `boxes.csv`.

    Raises:
        UserError: `boxes.csv` is not a table that `make records` wrote.
    """
    shares = list(proportions.shares)
    if read_inputs(annotations).get("proportions", shares) != shares:
        return {}, True
    path = annotations / TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["image"]: row["split"] for row in csv.DictReader(file) if row["split"] in SPLITS}, False
    except FileNotFoundError:
        return {}, False
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        message = f"{path}: cannot be read as the table of earlier records ({error}). Delete it to assign new splits."
        raise UserError(message) from None

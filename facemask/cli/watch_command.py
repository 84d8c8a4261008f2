"""Watch cameras: an event when somebody stays without a mask, and statistics."""

import itertools
import sys
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


@options.expand_groups
def main(
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML with cameras, rules and actions, see docs/watch.md. Default: configs/watch.yaml, or else "
            "camera 0 and one rule.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the file, take one frame of each camera, and draw the zones on it.")
    ] = False,
    export: Annotated[str, typer.Option(help="csv: write the statistics to stdout, and watch nothing.")] = "",
    which: options.DetectorOptions = options.DETECTOR,
    threshold: options.Threshold = options.THRESHOLD,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Watch cameras until Ctrl-C, and write events and statistics to workspace/watch/."""
    from facemask.core.config_files import OWN
    from facemask.core.errors import UserError
    from facemask.detect import detector_choice
    from facemask.watch import visit_statistics, watch_check, watch_config, watch_loop
    from facemask.watch.actions import action_kinds
    from facemask.watch.watch_database import open_database

    if export not in ("", "csv"):
        raise UserError(f"EXPORT={export}: must be csv.")
    file = None
    path = config or OWN / "watch.yaml"
    if config is None and not path.is_file():
        settings = watch_config.default_config()
    else:
        settings, file = watch_config.read_config(path)
    if export:
        if not settings.database.is_file():
            raise UserError(f"{settings.database}: no such file. `make watch` writes it.")
        visit_statistics.write_statistics_csv(open_database(settings.database), sys.stdout)
        return
    footage = watch_loop.open_sources(settings)
    # Finds the detector's files, and loads none of its networks.
    chosen = detector_choice.choose_detector(
        which.choice(moving=True), report=lambda words: print(words, file=sys.stderr)
    )
    problems = list(watch_config.check_classes(settings, chosen.label_map.names))
    if problems:
        raise watch_config.refused(file or watch_config.UNNAMED, problems)
    if check:
        for receiver in action_kinds.open_receivers(settings, []).values():
            receiver.close()
        print("\n".join(watch_check.check_cameras(settings, footage, settings.database.parent)))
        return
    least = chosen.parse_thresholds(threshold, reports)
    for words in itertools.chain.from_iterable(map(watch_check.unseen_parts, settings.cameras)):
        print(words, file=sys.stderr)
    opened = chosen.open(chosen.at_once)
    watch_loop.run_watch(settings, opened.without_slices(), least, footage, sliced=opened, at_once=chosen.at_once)

"""The shipped detector that a step takes where nobody named a run and none was exported."""

from pathlib import Path
from typing import Any

import made_video
import pytest

from facemask.cli import make_variables
from facemask.cli.app import command_of
from facemask.core.errors import UserError
from facemask.detect import detector_choice


@pytest.mark.parametrize(
    ("step", "given", "expected"),
    [
        ("infer", {"IMG": "photo.jpg"}, "ready"),
        ("infer", {"IMG": "film.mp4"}, "ready-fast"),
        ("infer", {"IMG": "http://127.0.0.1:9/video"}, "ready-fast"),
        ("watch", {"CONFIG": "watch.yaml"}, "ready-fast"),
        ("next", {"FROM": "film.mp4"}, "ready-fast"),
        ("next", {"FROM": "photo.jpg"}, "ready"),
        ("eval", {}, "ready"),
        ("prelabel", {"IMAGES": "."}, "ready"),
        ("infer", {"IMG": "film.mp4", "RUN": "ready"}, "ready"),
    ],
)
def test_cameras_and_videos_take_the_fast_form(
    step: str, given: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, shipped_form = [], detector_choice._shipped_form

    def stop(choice: detector_choice.DetectorChoice, **_: Any) -> None:
        chosen.append(shipped_form(choice))
        raise UserError("chosen")

    monkeypatch.setattr(detector_choice, "choose_detector", stop)
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").touch()
    made_video.write(Path("film.mp4"), [made_video.frame(0)])
    Path("watch.yaml").write_text("cameras: [{name: door, source: film.mp4}]\n")
    command = command_of(step)
    with pytest.raises(UserError, match="chosen"):
        command.main(make_variables.to_arguments(command, step, given), standalone_mode=False)
    assert chosen == [expected]

"""When the demo counts as passed. The steps are stand-ins, which write nothing but the figures."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from facemask.cli import demo_command


@pytest.mark.parametrize(("after", "code"), [(0.96, 0), (0.55, demo_command.NOT_LEARNED)])
def test_the_demo_fails_if_training_did_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: float, code: int
) -> None:
    def write_figures(step: str, options: dict[str, Any]) -> None:
        if step == "eval":
            name, score = ("before", 0.54) if options["run"] == "ready-ssd" else ("demo", after)
            report = options["reports"] / options.get("report", options["run"])
            assert report == tmp_path / "reports" / name
            report.mkdir(parents=True)
            (report / "metrics.json").write_text(json.dumps({"figures": {"map50": score}}))

    monkeypatch.setattr(demo_command.step_process, "run_step_process", write_figures)
    monkeypatch.setattr(demo_command, "_draw", lambda annotations, model, picture: None)
    if code:
        with pytest.raises(typer.Exit) as ended:
            demo_command.main(tmp_path)
        assert ended.value.exit_code == code
    else:
        demo_command.main(tmp_path)
    printed = capsys.readouterr()
    assert f"0.540 before training, {after:.3f} after it" in printed.out
    assert ("training did not work" in printed.err) == bool(code)

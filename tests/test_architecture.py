"""The rooms of the package, and the order in which they may import each other."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "core": set(),
    "ready": {"core"},
    "data": {"core"},
    "tfod": {"core", "data", "ready"},
    "classifier": {"core", "data", "ready"},
    "detect": {"core", "data", "classifier", "ready"},
    "media": {"core", "data", "classifier", "detect"},
    "evaluation": {"core", "data", "classifier", "detect"},
    "face_training": {"core", "data", "classifier", "detect", "evaluation"},
    "export": {"core", "data", "classifier", "detect", "evaluation", "face_training", "ready"},
    "labelling": {"core", "data", "classifier", "detect", "media", "evaluation"},
    "watch": {"core", "data", "classifier", "detect", "media"},
    "serving": {"core", "data", "classifier", "detect", "media", "evaluation", "watch"},
    "cli": {
        *("core", "ready", "data", "tfod", "classifier", "detect", "media", "evaluation", "export", "labelling"),
        *("serving", "watch", "face_training"),
    },
}
"""For each room, the rooms below it. There are no circles, because no room is below itself."""

EXCEPTIONS = {
    ("facemask/classifier/backends/classifier_tensorflow.py", "tfod"),
    ("facemask/classifier/classifier_network.py", "tfod"),
    ("facemask/classifier/classifier_training.py", "tfod"),
    ("facemask/detect/backends/onnx_backend.py", "tfod"),
    ("facemask/detect/backends/tensorflow_backend.py", "tfod"),
    ("facemask/detect/backends/tflite_backend.py", "tfod"),
}
"""The files that import a room which they should not, with that room: for TensorFlow and its repairs (`tfod.compat`).
Nothing is added to this list."""

RUNTIMES = {"openvino", "onnxruntime", "ai_edge_litert", "tensorflow"}
MAY_IMPORT_A_RUNTIME = {
    *("facemask/core/openvino_model.py", "facemask/core/litert_model.py", "facemask/core/hardware.py"),
}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "facemask" and len(parts) > 1 else ""


def imported_modules(file: Path) -> Iterator[str]:
    """The full names of all that a file imports, at its top and inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(room: str) -> list[Path]:
    return sorted((ROOT / "facemask" / room).rglob("*.py"))


def test_every_room_has_its_place() -> None:
    found = {path.name for path in (ROOT / "facemask").iterdir() if (path / "__init__.py").is_file()}
    assert found == set(MAY_IMPORT)


def test_the_order_has_no_circles() -> None:
    below: dict[str, set[str]] = {}
    for room, allowed in MAY_IMPORT.items():  # from the lowest room up
        assert allowed <= set(below)
        below[room] = allowed


def test_rooms_import_only_the_rooms_below_them() -> None:
    found = {
        (str(file.relative_to(ROOT)), room_of(module))
        for room, allowed in MAY_IMPORT.items()
        for file in files_of(room)
        for module in imported_modules(file)
        if room_of(module) in MAY_IMPORT and room_of(module) not in allowed | {room}
    }
    assert sorted(found - EXCEPTIONS) == []
    assert sorted(EXCEPTIONS - found) == [], "no longer needed: remove them from EXCEPTIONS"


def test_only_tfod_imports_the_api() -> None:
    for file in (ROOT / "facemask").rglob("*.py"):
        if "tfod" not in file.parts:
            assert not [name for name in imported_modules(file) if name.split(".")[0] == "object_detection"], file


def test_a_runtime_is_imported_only_by_the_rooms_that_use_it() -> None:
    found = {
        str(file.relative_to(ROOT))
        for room in ("core", "data", "media", "evaluation", "labelling", "serving", "watch", "cli")
        for file in files_of(room)
        for module in imported_modules(file)
        if module.split(".")[0] in RUNTIMES
    }
    assert sorted(found - MAY_IMPORT_A_RUNTIME) == []


def test_a_files_name_is_unique() -> None:
    anywhere = {"__init__.py", "__main__.py", "conftest.py"}
    files = [file for folder in ("facemask", "tests") for file in (ROOT / folder).rglob("*.py")]
    steps = {file.name for file in (ROOT / "scripts").glob("*.py")}  # the thin files, and benchmarks of a step
    files += [file for file in (ROOT / "benchmarks").glob("*.py") if file.name not in steps]
    counted = Counter(file.name for file in files if file.name not in anywhere)
    assert sorted(name for name, count in counted.items() if count > 1) == []

"""Build the page that detects in the browser: a folder for any web host."""

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.core.files import replacing_folder, write_json
from facemask.core.label_map import LabelMap
from facemask.detect.opened_detector import SAME_FACE
from facemask.serving.page_files import FOLDER, page_files, page_settings

RUNTIME = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""The files of onnxruntime-web that the page loads. They hold WebGPU and WASM with SIMD, with and without threads."""

MOST_BYTES = 15_000_000
"""The most bytes of the folder, each file compressed by gzip, as web hosts send them."""

_HEADERS = """/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  X-Content-Type-Options: nosniff
"""
"""Some web hosts read such a file. With the first two headers browsers let WASM use threads."""


def build_page(
    about: Mapping[str, Any],
    label_map: LabelMap,
    thresholds: Sequence[float],
    write_networks: Callable[[Path], Mapping[str, Any]],
    folder: Path,
) -> int:
    """Write the folder, whole or not at all; a page that is there is replaced.

    Args:
        about: The description of the detector, as it is in the results; with `run`.
        label_map: Its classes.
        thresholds: The least score of a box of each class, in the order of the ids.
        write_networks: Writes the networks into a folder, and returns what `engines.js` has to know about them.
        folder: The folder to write.

    Returns:
        The size of the files in bytes, each compressed by gzip.

    Raises:
        UserError: npm is missing or fails, the folder holds something else, or the page is larger than `MOST_BYTES`.
    """
    if folder.exists() and not ((folder / "page.json").is_file() or (folder.is_dir() and not any(folder.iterdir()))):
        raise UserError(f"OUT={folder}: holds something else than a page. Give another folder.")
    with tempfile.TemporaryDirectory() as scratch, replacing_folder(folder) as beside:
        package = install_runtime(Path(scratch))
        for file in page_files():
            shutil.copyfile(file, beside / file.name)
        for name in RUNTIME:
            shutil.copyfile(package / "dist" / name, beside / name)
        settings = page_settings(
            "browser",
            "It runs in this browser: pictures stay on this device.",
            about,
            label_map,
            thresholds,
            detector=write_networks(beside),
            sameFace=SAME_FACE,
        )
        write_json(beside / "page.json", settings)
        (beside / "_headers").write_text(_HEADERS, encoding="utf-8")
        size = sum(len(gzip.compress(file.read_bytes(), 6)) for file in beside.iterdir())
        if size > MOST_BYTES:
            raise UserError(
                f"RUN={about['run']}: the page would have {size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} MB are "
                "reasonable to load. Take a smaller network, such as a MobileNetV2."
            )
    return size


def install_runtime(folder: Path) -> Path:
    """Install the packages of `package-lock.json` with npm, which checks their digests. Returns onnxruntime-web's.

    Raises:
        UserError: npm is missing or fails.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(FOLDER / name, folder / name)
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "npm: is not installed; it fetches onnxruntime-web. Install Node.js 18 or newer with npm (Debian, Ubuntu: "
            "apt install nodejs npm)."
        )
    command = [npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    environment = os.environ | {"npm_config_update_notifier": "false"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise UserError(f"npm ci: cannot fetch onnxruntime-web: {' '.join(lines[:3])}")
    return folder / "node_modules" / "onnxruntime-web"

"""The page: a picture or a camera on the left, its boxes on the right, how many of each class, and both to download.

It is made of Gradio's components, but none of their file handling touches a picture: they would open it with every
decoder that Pillow has, write copies, and fetch what is behind a URL. What arrives is handed on as it is (`_take_raw`).
"""

import base64
import binascii
import html
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from scripts.media import drawing
from scripts.serving.service import AUTO, Answer, Question, RefusedError, Service
from scripts.support.errors import UserError

CSS = Path(__file__).with_name("page.css")

FRAMES_EVERY = 0.1
"""Seconds from one frame of the camera to the next, at the least; none is sent before the last one came back."""

CAMERA = {"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}}}
"""What is asked of a camera: the model resizes its frames to less."""

CAMERAS = 4
"""Cameras that are looked at at once; more wait."""

HEIGHT = 440
"""Of the pictures, in pixels of the page."""

_HEAD = """<div class="head"><h1>Face masks</h1><p>{model}. {privacy}</p></div>"""

_NO_PICTURE = "No picture yet."
_NO_CAMERA = "The camera is off. Start it on the left; its frames are looked at one by one and not kept."


def theme() -> gr.themes.Base:
    """Gradio's soft theme, with the fonts of the machine that looks at it: none is fetched."""
    return gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        block_border_width="1px",
        block_label_background_fill="*block_background_fill",
        block_label_text_color="*body_text_color",
        block_label_text_weight="500",
        block_title_background_fill="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_weight="500",
        block_title_padding="0",
    )


def build(service: Service, threshold: float, folder: Path, privacy: str) -> gr.Blocks:
    """Make the page.

    Args:
        service: What answers.
        threshold: Where the slider stands at first.
        folder: Where Gradio keeps uploads, and where results wait to be downloaded; the caller tidies it.
        privacy: A sentence on who can see what.
    """
    model = f"Run {service.about['run']}: {service.about['model']}"
    runtimes = [(f"{service.auto_name} (default)", AUTO), *((name, name) for name in service.runtimes if name != AUTO)]

    async def on_picture(picture: dict[str, str] | None, least: float, runtime: str) -> tuple[Any, ...]:
        off = gr.DownloadButton(value=None, interactive=False)
        if picture is None:
            return None, _empty(service, _NO_PICTURE), off, off, None
        try:
            path = _uploaded(picture, folder)
            question = Question(path, picture["name"], float(least), str(runtime), draw=True)
            with service.place():
                answer = await service.look(question)
        except (RefusedError, UserError) as error:
            return None, _error(str(error)), off, off, None
        image, boxes = _write(answer, folder)
        ready = (gr.DownloadButton(value=str(path), interactive=True) for path in (image, boxes))
        return str(image), _counts(answer), *ready, answer.boxes

    async def on_frame(frame: dict[str, str] | None, least: float, runtime: str) -> tuple[Any, Any]:
        if frame is None:
            return None, _empty(service, _NO_CAMERA)
        try:
            question = Question(_inline(frame), "camera.jpg", float(least), str(runtime), draw=True, enlarge=False)
            with service.place():
                answer = await service.look(question)
        except RefusedError as error:
            return (gr.skip(), gr.skip()) if error.status == 503 else (None, _error(str(error)))
        except UserError as error:
            return None, _error(str(error))
        return answer.drawn, _counts(answer)

    with gr.Blocks(title="Face masks", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_HEAD.format(model=html.escape(model), privacy=html.escape(privacy)))
        with gr.Row():
            least = gr.Slider(
                0,
                1,
                threshold,
                step=0.01,
                label="Threshold",
                info="The score from which a box counts",
                scale=3,
                min_width=300,
                elem_id="threshold",
            )
            runtime = gr.Dropdown(
                runtimes,
                value=AUTO,
                label="Runtime",
                info="What runs the model",
                filterable=False,
                scale=2,
                min_width=300,
                elem_id="runtime",
            )
        with gr.Tab("Picture"):
            found = gr.HTML(_empty(service, _NO_PICTURE), elem_id="found")
            with gr.Row(equal_height=False):
                picture = _take_raw(
                    gr.Image(
                        sources=["upload", "clipboard"],
                        label="Picture",
                        placeholder="Drop or paste a picture here,\nor click to choose one",
                        type="filepath",
                        image_mode=None,
                        height=HEIGHT,
                        min_width=300,
                        buttons=["fullscreen"],
                        elem_id="picture",
                    )
                )
                drawn = gr.Image(
                    label="Boxes",
                    type="filepath",
                    interactive=False,
                    height=HEIGHT,
                    min_width=300,
                    buttons=["fullscreen"],
                    elem_id="drawn",
                )
            with gr.Row():
                get_image = gr.DownloadButton("Download the picture", interactive=False, elem_id="get-image")
                get_boxes = gr.DownloadButton("Download the boxes as JSON", interactive=False, elem_id="get-boxes")
            with gr.Accordion("Boxes as JSON", open=False):
                boxes = gr.JSON(show_label=False, elem_id="boxes")
        with gr.Tab("Camera"):
            live_found = gr.HTML(_empty(service, _NO_CAMERA), elem_id="live-found")
            with gr.Row(equal_height=False):
                camera = _take_raw(
                    gr.Image(
                        sources=["webcam"],
                        webcam_options=gr.WebcamOptions(constraints=CAMERA),
                        streaming=True,
                        label="Camera",
                        type="filepath",
                        height=HEIGHT,
                        min_width=300,
                        elem_id="camera",
                    )
                )
                live = _give_raw(
                    gr.Image(
                        label="Boxes",
                        type="filepath",
                        interactive=False,
                        height=HEIGHT,
                        min_width=300,
                        buttons=["download", "fullscreen"],
                        elem_id="live",
                    )
                )
        gr.on(
            [picture.change, least.change, runtime.input],
            on_picture,
            [picture, least, runtime],
            [drawn, found, get_image, get_boxes, boxes],
            trigger_mode="always_last",
            concurrency_limit=service.limits.workers,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=[drawn],
        )
        camera.stream(
            on_frame,
            [camera, least, runtime],
            [live, live_found],
            stream_every=FRAMES_EVERY,
            concurrency_limit=CAMERAS,
            api_visibility="private",
            show_progress="hidden",
        )
    page.queue(max_size=service.limits.workers + service.limits.waiting + CAMERAS, api_open=False)
    return page


def _take_raw(component: gr.Image) -> gr.Image:
    """Have an image component hand on `{"path", "url", "name"}` of what was sent, unopened, and fetch nothing.

    Set on the object: for a class of our own Gradio would write a stub file into the sources.
    """

    def preprocess(payload: ImageData | None) -> dict[str, str] | None:
        if payload is None:
            return None
        return {"path": payload.path or "", "url": payload.url or "", "name": payload.orig_name or ""}

    async def stay(path: str | Path | None) -> str | None:
        return None if path is None else str(path)

    vars(component).update(preprocess=preprocess, async_move_resource_to_block_cache=stay)
    return component


def _give_raw(component: gr.Image) -> gr.Image:
    """Have an image component take the bytes of a JPEG and send them as they are, where it would write a file."""

    def postprocess(value: bytes | None) -> ImageData | None:
        if value is None:
            return None
        return ImageData(orig_name="camera.jpg", url=f"data:image/jpeg;base64,{base64.b64encode(value).decode()}")

    vars(component).update(postprocess=postprocess)
    return component


def _uploaded(picture: dict[str, str], folder: Path) -> Path:
    """Where an upload is. Raises RefusedError where it is not, or no longer, one."""
    path = Path(os.path.realpath(picture["path"]))
    if not path.is_relative_to(folder.resolve()):
        raise RefusedError(400, "That is no upload. Choose a picture.")
    if not path.is_file():
        raise RefusedError(410, "The upload was tidied away in the meantime. Choose the picture again.")
    return path


def _inline(frame: dict[str, str]) -> bytes:
    """The bytes in a `data:` URL. Raises RefusedError where it is none."""
    head, _, data = frame["url"].partition(",")
    try:
        if not (head.startswith("data:image/") and head.endswith(";base64")):
            raise ValueError
        return base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        raise RefusedError(400, "That is no frame of a camera.") from None


def _write(answer: Answer, folder: Path) -> tuple[Path, Path]:
    """Put the drawn picture and the boxes where they can be downloaded."""
    stem = Path(answer.name).stem
    place = Path(tempfile.mkdtemp(dir=folder))
    image, boxes = place / f"{stem}-boxes.jpg", place / f"{stem}.json"
    image.write_bytes(answer.drawn)
    boxes.write_text(json.dumps(answer.boxes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return image, boxes


def _counts(answer: Answer) -> str:
    """How many of each class, in the classes' colours."""
    said = f"{answer.runtime}, {answer.milliseconds:.0f} ms, {answer.size[0]} x {answer.size[1]} pixels"
    return _chips({name: str(count) for name, count in answer.counts.items()}, said)


def _empty(service: Service, said: str) -> str:
    return _chips(dict.fromkeys(service.label_map.names, "-"), said)


def _chips(counts: dict[str, str], said: str) -> str:
    chips = "".join(
        f'<div class="count{" none" if count in "-0" else ""}" style="--class-color: {drawing.color_of(class_id)}">'
        f"<b>{count}</b><span>{html.escape(name)}</span></div>"
        for class_id, (name, count) in enumerate(counts.items(), 1)
    )
    return f'<div class="counts">{chips}</div><p class="said">{html.escape(said)}</p>'


def _error(message: str) -> str:
    return f'<p class="said error" role="alert">{html.escape(message)}</p>'

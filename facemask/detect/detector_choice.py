"""Choose the detector from the options of a step, and describe it for the results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facemask.classifier import exported_classifier, face_classifier
from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.classifier.face_classifier import resolve_classifier_runtime
from facemask.core import downloads, exported_model, hardware, openvino_model
from facemask.core.errors import UserError
from facemask.core.files import sha256
from facemask.core.label_map import LabelMap
from facemask.core.provenance import READY, started_from
from facemask.core.run_names import run_folder
from facemask.detect import fused, runtimes, small_folder
from facemask.detect.detector import RawDetector
from facemask.detect.faces import face_finder
from facemask.detect.faces.box_alignment import AlignedFaces, BoxAlignment
from facemask.detect.faces.face_finder import FaceFinder
from facemask.detect.faces.several_sizes import SeveralSizes
from facemask.detect.faces.yunet import YuNet
from facemask.detect.fused import FusedDetector
from facemask.detect.opened_detector import OpenedDetector
from facemask.detect.score_thresholds import DEFAULT_THRESHOLD, METRICS, parse_thresholds
from facemask.ready import shipped_detector
from facemask.ready.shipped_detector import ShippedDetector, ShippedForm

NAMES = ("ssd", "two_stage", "rescored", "fused")
"""What DETECTOR= takes."""

AT_ONCE = 2
"""Frames of a video or of cameras that are detected at the same time: one is decoded, reduced and tracked while the
network computes the other. Each takes half of the cores."""


@dataclass(frozen=True)
class DetectorChoice:
    """The options, as the user gives them.

    Attributes:
        exported: The folder of the exported models and classifiers.
        run: Name of the exported detector, or of a form of the shipped one (`shipped_detector.FORMS`). An export of the
            user's own of that name comes first. It may be what `make small` wrote, which is a whole detector.
        run_was_named: Whether the user named the run. If not, and nothing is exported, it is the shipped detector.
        unnamed: Its form in that case, one of `shipped_detector.FORMS`.
        detector: One of `NAMES`: the exported detector alone, faces and a classifier, the exported detector with its
            boxes scored again by a classifier, or the last two joined. Empty: the exported detector alone, or what the
            form of the shipped one is.
        faces: One of `face_finder.NAMES`, for two_stage and fused.
        faces_model: The user's own file for it; None takes the published one.
        faces_sizes: The longer sides in pixels to which pictures are scaled for the face detector, several for yunet
            alone; none for its default.
        classifier: Name of the exported classifier, or several names, separated by commas, whose probabilities are
            averaged.
        runtime: The runtime of the networks; not that of the face detectors, which OpenVINO (yunet; LiteRT for a
            .tflite file) and OpenCV run.
        precision: The precision of the networks.
        pretrained: The folder of the downloads.
        shipped: The folder of the shipped detector.
    """

    exported: Path
    run: str = "default"
    run_was_named: bool = True
    unnamed: str = shipped_detector.FORMS[0]
    detector: str = ""
    faces: str = "yunet"
    faces_model: Path | None = None
    faces_sizes: tuple[int, ...] = ()
    classifier: str = "classifier"
    runtime: str = "auto"
    precision: str = "auto"
    pretrained: Path = downloads.PRETRAINED
    shipped: Path = shipped_detector.FOLDER


@dataclass(frozen=True)
class ChosenDetector:
    """A detector whose parts all exist.

    Attributes:
        name: The name of the folder for its results: the run's, or one made of the names of the parts.
        label_map: Its classes.
        model: Its description in the results, as JSON values: `run`, `model`, `steps`, `input`, `config_sha256` and
            `exported`, each None if it does not apply. A detector of two stages also has `faces` (`name`, `sizes`,
            `files` with their SHA-256, `alignment`) and `classifier` (`runs`, `backbone`, `size`, `margin`, `files`), a
            fused one also `fusion` (`share`, `min_iou`).
        networks: The runtime and the precision of each network.
        load: Loads the detector without tiling and with all boxes of a face.
        thresholds: The score of each class from which a box counts where the user does not say otherwise, by class.
        faces_files: The files of its face detector, where it has one in a file.
        training_pictures: The perceptual hashes of the pictures that it was trained on, where they are known: those of
            the shipped detector, also where a part of it, or training from its weights, is in this one.
    """

    name: str
    label_map: LabelMap
    model: dict[str, Any]
    networks: tuple[tuple[str, str], ...]
    load: Callable[[], RawDetector]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    faces_files: tuple[Path, ...] = ()
    training_pictures: tuple[int, ...] = ()

    @property
    def at_once(self) -> int:
        """How many frames threads should detect in at the same time: `AT_ONCE`, but 1 on one core, and with other
        runtimes than OpenVINO, which use all cores for each.
        """
        shares = all(runtime == "openvino" for runtime, _ in self.networks)
        return min(AT_ONCE, hardware.usable_cores()) if shares else 1

    def open(self, at_once: int = 1) -> OpenedDetector:
        """Load it, ready for use by so many threads at the same time, each on its share of the cores."""
        with openvino_model.sharing_cores(at_once):
            return OpenedDetector(self.load(), self.thresholds)

    def parse_thresholds(self, text: str, reports: Path) -> tuple[float, ...]:
        """The threshold of each class that THRESHOLD= means for this detector; see `score_thresholds.parse_thresholds`.

        Args:
            text: What the user wrote; empty for the detector's own.
            reports: The folder of the reports.
        """
        return parse_thresholds(text, self.label_map, metrics=reports / self.name / METRICS, own=self.thresholds)


def choose_detector(
    choice: DetectorChoice, report: Callable[[str], None] = print, *, is_shared: bool = False
) -> ChosenDetector:
    """Find the parts of the detector, and download the face detector's files if they are not there. Loads nothing yet.

    Args:
        choice: The options.
        report: Called with each line for the user.
        is_shared: The options are also those of a second detector, which may be the only one that has a part.

    Raises:
        UserError: A name is unknown, a part is missing or has no effect, or the parts do not fit each other.
    """
    if choice.detector not in ("", *NAMES):
        raise UserError(f"DETECTOR={choice.detector}: must be one of {', '.join(NAMES)}.")
    if small_folder.is_small(run_folder(choice.exported, choice.run)):
        return _with_training_pictures(choice, _small(choice, report))
    name = _shipped_form(choice)
    if name is not None:
        if not choice.run_was_named:
            report(
                f"{choice.exported}: no exported model, so this is RUN={name}, the detector that comes with facemask"
            )
        return _shipped(choice, name, report)
    if not is_shared:
        _refuse_unused_parts(choice)
    chosen = _join_parts(choice, report)
    if "classifier" in chosen.model and not chosen.thresholds:
        report(
            f"{chosen.name}: carries no thresholds, so each class has {DEFAULT_THRESHOLD}. `make eval SPLIT=val "
            "THRESHOLD=best` with the same parts chooses them; then THRESHOLD=best takes them."
        )
    return _with_training_pictures(choice, chosen)


def _with_training_pictures(choice: DetectorChoice, chosen: ChosenDetector) -> ChosenDetector:
    """Add the training pictures of the shipped detector if a part is one of its, or was trained from its weights."""
    faces = choice.shipped / shipped_detector.FACES
    classifiers = chosen.model.get("classifier", {"runs": ()})["runs"]
    parts = [Path(chosen.model["exported"]), *(choice.exported / name for name in classifiers), *chosen.faces_files]
    digests = chosen.model.get("faces", {"files": {}})["files"].values()
    learned = (faces.is_file() and sha256(faces) in digests) or any(started_from(part) == READY for part in parts)
    if not learned or not shipped_detector.is_shipped(choice.shipped):
        return chosen
    return replace(chosen, training_pictures=shipped_detector.open_shipped(choice.shipped).training_pictures)


def _join_parts(choice: DetectorChoice, report: Callable[[str], None]) -> ChosenDetector:
    """The detector that the parts make; see `choose_detector`."""
    if choice.detector in ("", "ssd"):
        return _ssd(choice)
    if choice.detector == "rescored":
        return _rescored(choice)
    if choice.faces not in face_finder.NAMES:
        raise UserError(f"FACES={choice.faces}: must be one of {', '.join(face_finder.NAMES)}.")
    if choice.detector == "fused":
        return _fused(choice, report)
    return _ssd_and_classifier(choice) if choice.faces == "ssd" else _faces_and_classifier(choice, report)


def refuse_several(chosen: ChosenDetector, step: str) -> None:
    """Raise a UserError if a detector searches at several sizes or averages classifiers, for a step that cannot."""
    faces, classifier = chosen.model.get("faces"), chosen.model.get("classifier")
    if (faces and len(faces["sizes"]) > 1) or (classifier and len(classifier["runs"]) > 1):
        # The parts of a shipped detector are fixed, so only another one helps.
        whole = chosen.name in shipped_detector.FORMS
        raise UserError(
            f"{chosen.name}: searches pictures at several sizes or averages classifiers; {step} takes one size and one "
            f"classifier. {'Take RUN=ready-fast.' if whole else 'Name one FACES_SIZE and one CLASSIFIER.'}"
        )


def choose_other_detector(choice: DetectorChoice, other: str) -> ChosenDetector:
    """Find the parts of a second detector, which is compared with the first.

    Args:
        choice: The first.
        other: Another kind of detector made of the same parts, one of `NAMES`; or the name of another exported run.

    Raises:
        UserError: It is the same as the first, a part is missing, or its classes are others.
    """
    if other in NAMES:
        second = replace(choice, detector=other)
    else:
        second = replace(choice, detector="", run=other, run_was_named=True)
    first = choose_detector(choice, lambda line: None, is_shared=True)  # its lines were said
    found = choose_detector(second, is_shared=True)
    if found.name == first.name:
        raise UserError(f"OTHER={other}: is the detector itself. Name another.")
    if found.label_map != first.label_map:
        names = ", ".join(found.label_map.names)
        raise UserError(f"OTHER={other}: its classes are {names}; those of {first.name} are others.")
    return found


def _ssd(choice: DetectorChoice) -> ChosenDetector:
    folder = run_folder(choice.exported, choice.run)
    model = exported_model.read_exported_model(folder)
    runtime, precision = runtimes.resolve_runtime(model, choice.runtime, choice.precision)
    about = {
        "run": model.run,
        "model": model.model,
        "steps": model.steps,
        "input": [model.width, model.height],
        "config_sha256": model.config_sha256,
        "exported": str(folder),
    }

    def load() -> RawDetector:
        return runtimes.load_model(folder, runtime, precision)

    networks = ((runtime, precision),)
    return ChosenDetector(choice.run, model.label_map, about, networks, load, model.thresholds)


def _shipped_form(choice: DetectorChoice) -> str | None:
    """The form of the shipped detector that the options mean; None where they mean an exported one.

    Raises:
        UserError: No run was named, there is no export named `choice.run`, but there are others.
    """
    own = run_folder(choice.exported, choice.run)
    if exported_model.is_exported(own):
        return None
    if choice.run_was_named:
        return choice.run if choice.run in shipped_detector.FORMS else None
    if choice.detector or not shipped_detector.is_shipped(choice.shipped):
        return None
    if others := exported_model.exported_runs(choice.exported):
        raise UserError(f"{own}: no exported model. RUN= takes {', '.join((*others, *shipped_detector.FORMS))}.")
    return choice.unnamed


def _shipped(choice: DetectorChoice, name: str, report: Callable[[str], None]) -> ChosenDetector:
    _refuse_other_parts(choice, name, "openvino")
    if choice.precision == "int8":
        raise UserError(f"PRECISION=int8: RUN={name} has no int8 form. Leave PRECISION out, or take fp32 or bf16.")
    shipped = shipped_detector.open_shipped(choice.shipped)
    chosen = _join_parts(_parts_of(choice, shipped, shipped.forms[name]), report)
    return replace(
        chosen,
        name=name,
        model=chosen.model | {"run": name},
        thresholds=shipped.forms[name].thresholds,
        training_pictures=shipped.training_pictures,
    )


def _refuse_other_parts(choice: DetectorChoice, name: str, runtime: str) -> None:
    """Raise a UserError if the options name a part, or a runtime, that a whole detector has already."""
    default = _parts_given(DetectorChoice(choice.exported))
    for option, value in _parts_given(choice).items():
        if value != default[option]:
            raise UserError(f"{option}={value}: RUN={name} is a whole detector, which has its own. Leave {option} out.")
    if choice.runtime not in ("auto", runtime):
        raise UserError(f"RUNTIME={choice.runtime}: RUN={name} is for {runtime} alone. Leave RUNTIME out.")


def unused_parts(detector: str) -> tuple[str, ...]:
    """The options that name a part which this kind of detector, one of `NAMES` or empty, does not have."""
    faces = ("FACES", "FACES_MODEL", "FACES_SIZE")
    return {"": (*faces, "CLASSIFIER"), "ssd": (*faces, "CLASSIFIER"), "rescored": faces}.get(detector, ())


def _refuse_unused_parts(choice: DetectorChoice) -> None:
    """Raise a UserError if the options name a part that the detector does not have."""
    default, given = _parts_given(DetectorChoice(choice.exported)), _parts_given(choice)
    for option in unused_parts(choice.detector):
        if given[option] != default[option]:
            raise UserError(
                f"{option}={given[option]}: DETECTOR={choice.detector or 'ssd'} has no such part. Leave {option} out, "
                "or name a DETECTOR that has it."
            )


def _parts_given(choice: DetectorChoice) -> dict[str, str]:
    """The options that name a part, as the user writes them."""
    return {
        "DETECTOR": choice.detector,
        "FACES": choice.faces,
        "FACES_MODEL": str(choice.faces_model or ""),
        "FACES_SIZE": ",".join(map(str, choice.faces_sizes)),
        "CLASSIFIER": choice.classifier,
    }


def _small(choice: DetectorChoice, report: Callable[[str], None]) -> ChosenDetector:
    _refuse_other_parts(choice, choice.run, "tflite")
    if choice.precision != "auto":
        raise UserError(f"PRECISION={choice.precision}: RUN={choice.run} has its own. Leave PRECISION out.")
    folder = run_folder(choice.exported, choice.run)
    small = small_folder.read_small(folder)
    parts = replace(
        choice,
        detector="two_stage",
        faces_model=folder / small_folder.FACES,
        faces_sizes=(small.faces_size,),
        classifier=choice.run,
        runtime="tflite",
        precision=small.forms["classifier"],
    )
    chosen = _faces_and_classifier(parts, report)
    about = chosen.model | {"run": choice.run}
    return replace(chosen, name=choice.run, model=about, thresholds=small.thresholds)


def _parts_of(choice: DetectorChoice, shipped: ShippedDetector, form: ShippedForm) -> DetectorChoice:
    """The same options as if the shipped files were the user's own exports."""
    return replace(
        choice,
        exported=shipped.folder,
        run=shipped_detector.DETECTOR,
        run_was_named=True,
        detector=form.detector,
        faces=form.faces,
        faces_model=shipped.folder / form.faces_file if form.faces == "yunet" else None,
        faces_sizes=form.faces_sizes,
        classifier=",".join(shipped_detector.CLASSIFIERS[: form.classifiers or 1]),
        # The figures of the model card are those of float32, so it is what nobody has to ask for.
        precision="fp32" if choice.precision == "auto" else choice.precision,
    )


def _rescored(choice: DetectorChoice) -> ChosenDetector:
    ssd, classifiers = _ssd(choice), _classifiers(choice)
    classifier, folders = classifiers[0], [one.folder for one in classifiers]
    if classifier.label_map != ssd.label_map:
        raise UserError(
            f"{classifier.folder}: its classes are {', '.join(classifier.label_map.names)}; those of "
            f"{choice.exported / choice.run} are {', '.join(ssd.label_map.names)}. DETECTOR=rescored needs the same."
        )
    networks = _resolve_classifier(choice, classifier)

    def load() -> RawDetector:
        from facemask.detect.two_stage import RescoredDetector

        return RescoredDetector(ssd.load(), face_classifier.open_classifiers(folders, *networks))

    about = ssd.model | {
        "model": f"{ssd.model['model']}, rescored by {classifier.backbone}",
        "classifier": _about_classifiers(classifiers),
    }
    name = f"rescored-{choice.run}-{_joined_names(choice)}"
    return ChosenDetector(name, ssd.label_map, about, (*ssd.networks, networks), load)


def _fused(choice: DetectorChoice, report: Callable[[str], None]) -> ChosenDetector:
    if choice.faces == "ssd":
        raise UserError("FACES=ssd: DETECTOR=fused joins RUN= with another face detector: FACES=yunet, res10 or haar.")
    rescored, two_stage = _rescored(choice), _faces_and_classifier(choice, report)

    def load() -> RawDetector:
        return FusedDetector(rescored.load(), two_stage.load())

    about = rescored.model | {
        "model": f"{rescored.model['model']}, fused with {two_stage.model['model']}",
        "faces": two_stage.model["faces"],
        "fusion": {"share": fused.SHARE, "min_iou": fused.MIN_IOU},
    }
    name = f"fused-{choice.run}-{choice.faces}-{_joined_names(choice)}"
    networks = (*rescored.networks, *two_stage.networks)
    return ChosenDetector(name, rescored.label_map, about, networks, load, faces_files=two_stage.faces_files)


def _ssd_and_classifier(choice: DetectorChoice) -> ChosenDetector:
    if choice.faces_model is not None or choice.faces_sizes:
        raise UserError("FACES=ssd is the exported detector of RUN=: leave FACES_MODEL and FACES_SIZE out.")
    ssd, classifiers = _ssd(choice), _classifiers(choice)
    classifier, folders = classifiers[0], [one.folder for one in classifiers]
    networks = _resolve_classifier(choice, classifier)

    def load() -> RawDetector:
        from facemask.detect.faces.faces_as_detections import DetectorFaces
        from facemask.detect.two_stage import TwoStageDetector

        return TwoStageDetector(DetectorFaces(ssd.load()), face_classifier.open_classifiers(folders, *networks))

    about = ssd.model | {
        "model": f"{ssd.model['model']} as face detector + {classifier.backbone}",
        "faces": {"name": "ssd", "sizes": [], "files": {}, "alignment": None},
        "classifier": _about_classifiers(classifiers),
    }
    name = f"two_stage-ssd-{choice.run}-{_joined_names(choice)}"
    return ChosenDetector(name, classifier.label_map, about, (*ssd.networks, networks), load)


def _faces_and_classifier(choice: DetectorChoice, report: Callable[[str], None]) -> ChosenDetector:
    classifiers = _classifiers(choice)
    classifier, folders = classifiers[0], [one.folder for one in classifiers]
    if choice.detector == "fused":
        networks = _resolve_classifier(choice, classifier)
    else:
        networks = resolve_classifier_runtime(classifier, choice.runtime, choice.precision)
    files = face_finder.face_finder_files(choice.faces, choice.faces_model, choice.pretrained, report=report)
    # YuNet's alignment was learned with the published network. One that `make faces` trained draws the labels' boxes.
    trained = choice.faces == "yunet" and not face_finder.is_published(files[0])
    alignment = None if trained else classifier.alignments.get(choice.faces)
    sizes = choice.faces_sizes or (face_finder.KINDS[choice.faces].size,)
    face_finder.refuse_several_sizes(choice.faces, sizes)

    def load() -> RawDetector:
        from facemask.detect.two_stage import TwoStageDetector

        faces = face_finder.load_face_finder(choice.faces, files, sizes)
        large_faces: FaceFinder | None = None
        if isinstance(faces, YuNet | SeveralSizes):
            large_faces = faces.at_twice_the_size()
        if alignment is not None:
            aligned = BoxAlignment(**alignment)
            faces = AlignedFaces(faces, aligned)
            large_faces = large_faces and AlignedFaces(large_faces, aligned)
        return TwoStageDetector(faces, face_classifier.open_classifiers(folders, *networks), large_faces)

    name = f"two_stage-{choice.faces}-{_joined_names(choice)}"
    about = {
        "run": name,
        "model": f"{choice.faces} + {classifier.backbone}",
        "steps": None,
        "input": None,
        "config_sha256": None,
        "exported": str(classifier.folder),
        "faces": {"name": choice.faces, "sizes": list(sizes), "files": _digests(files), "alignment": alignment},
        "classifier": _about_classifiers(classifiers),
    }
    known = classifier.thresholds.get(choice.faces)
    thresholds = known.scores if known is not None and known.sha256 == sha256(files[0]) else {}
    return ChosenDetector(name, classifier.label_map, about, (networks,), load, thresholds, files)


def ready_runtimes(choice: DetectorChoice) -> list[str]:
    """The runtimes that are installed and that the detector was exported for, the fastest first.

    Raises:
        UserError: See `choose_detector`.
    """
    if small_folder.is_small(run_folder(choice.exported, choice.run)):
        return ["tflite"]
    if _shipped_form(choice) is not None:
        return ["openvino"]
    if choice.detector == "two_stage" and choice.faces != "ssd":
        return list(face_classifier.ready_runtimes(_classifiers(choice)[0]))
    return list(runtimes.ready_runtimes(exported_model.read_exported_model(run_folder(choice.exported, choice.run))))


def _classifiers(choice: DetectorChoice) -> list[ExportedClassifier]:
    return face_classifier.read_classifiers(choice.exported, choice.classifier)


def _joined_names(choice: DetectorChoice) -> str:
    """The classifiers' names as a part of a folder's name."""
    return "-".join(name.strip() for name in choice.classifier.split(","))


def _resolve_classifier(choice: DetectorChoice, classifier: ExportedClassifier) -> tuple[str, str]:
    """The classifier's runtime and precision: the detector's if the classifier has them, or else `auto`."""
    runtime = choice.runtime if choice.runtime in face_classifier.RUNTIMES else "auto"
    if runtime == "tflite" and runtime not in face_classifier.ready_runtimes(classifier):
        runtime = "auto"  # `make classifier` exports for all others
    name, precision = resolve_classifier_runtime(classifier, runtime)
    if choice.precision in face_classifier.RUNTIMES[name].files:
        precision = choice.precision
    return name, precision


def _about_classifiers(classifiers: Sequence[ExportedClassifier]) -> dict[str, Any]:
    files: dict[str, str] = {}
    for one in classifiers:
        folders = (one.saved_model / "variables", one.openvino, one.folder / "tflite")
        weights = sorted(next((folder for folder in folders if folder.is_dir()), one.openvino).glob("*"))
        digests = _digests([one.folder / exported_classifier.NAME, *weights])
        prefix = "" if one is classifiers[0] else f"{one.folder.name}/"
        files |= {f"{prefix}{name}": digest for name, digest in digests.items()}
    return {
        "runs": [one.folder.name for one in classifiers],
        "backbone": classifiers[0].backbone,
        "size": classifiers[0].size,
        "margin": classifiers[0].margin,
        "files": files,
    }


def _digests(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: sha256(file) for file in files}

"""A classifier's metrics: its confusion matrix, and the precision, recall and F1 of each class."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from facemask.core.label_map import LabelMap


@dataclass(frozen=True)
class ClassifierClassMetrics:
    """The metrics of one class: `precision`, `recall` and `f1` in 0..1 (0 for 0/0), and its number of `faces`."""

    name: str
    precision: float
    recall: float
    f1: float
    faces: int


@dataclass(frozen=True)
class ClassifierMetrics:
    """The metrics of a classifier's answers, compared with the labels.

    Attributes:
        accuracy: Share of correct answers.
        loss: Mean of the negative logarithm of the true class's probability.
        classes: Each class's metrics, in the order of the label map.
        confusion: (K, K), rows the labels, columns the answers.
    """

    accuracy: float
    loss: float
    classes: tuple[ClassifierClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have faces: a rare class weighs as much as a frequent one."""
        return float(np.mean([one.f1 for one in self.classes if one.faces]))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have faces."""
        return float(np.mean([one.recall for one in self.classes if one.faces]))

    def as_json(self) -> dict[str, Any]:
        """The metrics as `classifier.json` holds them."""
        return {
            "faces": sum(one.faces for one in self.classes),
            "accuracy": round(self.accuracy, 4),
            "loss": round(self.loss, 4),
            "balanced_accuracy": round(self.balanced_accuracy, 4),
            "macro_f1": round(self.macro_f1, 4),
            "classes": {
                one.name: {
                    "precision": round(one.precision, 4),
                    "recall": round(one.recall, 4),
                    "f1": round(one.f1, 4),
                    "faces": one.faces,
                }
                for one in self.classes
            },
            "confusion": [list(row) for row in self.confusion],
        }

    def __str__(self) -> str:
        """The classification report and the confusion matrix as text."""
        wide = max(len(one.name) for one in self.classes)
        total = sum(one.faces for one in self.classes)
        lines = [f"{'':{wide}}  precision  recall     F1  faces   taken for: {', '.join(o.name for o in self.classes)}"]
        for one, row in zip(self.classes, self.confusion, strict=True):
            counts = "  ".join(f"{count:5}" for count in row)
            lines.append(
                f"{one.name:{wide}}  {one.precision:9.3f}  {one.recall:6.3f}  {one.f1:5.3f}  {one.faces:5}   {counts}"
            )
        lines.append(
            f"accuracy {self.accuracy:.3f}, balanced accuracy {self.balanced_accuracy:.3f}, macro F1 "
            f"{self.macro_f1:.3f}, loss {self.loss:.3f}, {total} faces"
        )
        return "\n".join(lines)


def measure_classifier(probabilities: np.ndarray, labels: np.ndarray, label_map: LabelMap) -> ClassifierMetrics:
    """Compare probabilities with the labels.

    Args:
        probabilities: (n, K), n >= 1; the answer is the class with the highest.
        labels: (n,) the true classes, from 0.
        label_map: The K classes.

    Example:
        >>> measure_classifier(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), LabelMap(("a", "b"))).confusion
        ((1, 0), (1, 0))
    """
    count = len(label_map)
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    right, true, answered = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = right / np.maximum(answered, 1), right / np.maximum(true, 1)
    f1 = 2 * right / np.maximum(true + answered, 1)
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return ClassifierMetrics(
        accuracy=float(right.sum() / len(labels)),
        loss=float(-np.log(np.maximum(of_truth, 1e-7)).mean()),
        classes=tuple(
            ClassifierClassMetrics(name, float(precision[k]), float(recall[k]), float(f1[k]), int(true[k]))
            for k, name in enumerate(label_map.names)
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )

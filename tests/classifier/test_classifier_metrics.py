import numpy as np
import pytest
from sklearn import metrics

from facemask.classifier import classifier_metrics
from facemask.core.label_map import LabelMap

LABEL_MAP = LabelMap(("a", "b", "c"))


def test_the_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 200, p=[0.7, 0.25, 0.05])
    probabilities = rng.dirichlet((1, 1, 1), 200) + 0.5 * np.eye(3)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = classifier_metrics.measure_classifier(probabilities, labels, LABEL_MAP)
    answers = probabilities.argmax(axis=1)
    assert np.array_equal(found.confusion, metrics.confusion_matrix(labels, answers))
    precision, recall, f1, faces = metrics.precision_recall_fscore_support(labels, answers, zero_division=0)
    assert [one.faces for one in found.classes] == faces.tolist()
    assert [one.precision for one in found.classes] == pytest.approx(precision)
    assert [one.recall for one in found.classes] == pytest.approx(recall)
    assert [one.f1 for one in found.classes] == pytest.approx(f1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, answers))
    assert found.loss == pytest.approx(metrics.log_loss(labels, probabilities))
    assert found.macro_f1 == pytest.approx(f1.mean())
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, answers))


def test_a_class_without_faces_does_not_count_in_the_means() -> None:
    found = classifier_metrics.measure_classifier(np.eye(3)[[0, 0, 1]], np.array([0, 0, 1]), LABEL_MAP)
    assert (found.macro_f1, found.balanced_accuracy) == (1.0, 1.0)
    assert found.as_json()["classes"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "faces": 0}


def test_the_report_names_what_was_taken_for_what() -> None:
    text = str(classifier_metrics.measure_classifier(np.eye(3)[[0, 2, 1]], np.array([0, 1, 1]), LABEL_MAP))
    assert "taken for: a, b, c" in text
    assert text.splitlines()[2].split() == ["b", "1.000", "0.500", "0.667", "2", "0", "1", "1"]

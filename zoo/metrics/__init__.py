"""One pure function per metric."""

from zoo.metrics.classification import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    f1_macro,
    negative_log_likelihood,
)
from zoo.metrics.speech import (
    alignment,
    character_error_rate,
    sentence_error_rate,
    word_error_rate,
)

__all__ = [
    "accuracy",
    "alignment",
    "character_error_rate",
    "confusion_matrix",
    "expected_calibration_error",
    "f1_macro",
    "negative_log_likelihood",
    "sentence_error_rate",
    "word_error_rate",
]

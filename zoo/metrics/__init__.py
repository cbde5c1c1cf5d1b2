"""One pure function per metric."""

from zoo.metrics.classification import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    f1_macro,
    negative_log_likelihood,
)

__all__ = [
    "accuracy",
    "confusion_matrix",
    "expected_calibration_error",
    "f1_macro",
    "negative_log_likelihood",
]

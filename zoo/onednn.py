"""oneDNN, Intel's library of neural networks on a CPU, which TensorFlow may compute by."""

from __future__ import annotations

import os


def turn_on() -> None:
    """Have TensorFlow compute by it on every processor, unless the environment says otherwise.

    By itself TensorFlow does so only on processors with AVX512, though convolutions are a quarter
    faster on older ones too. Call this before TensorFlow is imported, which looks once; in training
    and in serving, so that both compute alike.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

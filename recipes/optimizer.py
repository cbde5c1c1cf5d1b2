"""The optimizer of the recipes whose learning rate rises, if at all, and then falls to 0."""

from __future__ import annotations

from typing import Any


def adamw(config: Any, steps: int, warmup: float = 0.0) -> Any:
    """Return AdamW with a cosine schedule and clipped gradients.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101.

    Args:
        config: Has `learning_rate`, `weight_decay`, `clip_norm` and `epochs`.
        steps: Of an epoch.
        warmup: Share of all steps in which the rate rises from 0.
    """
    import keras

    steps *= config.epochs
    rising: dict[str, Any] = {}
    if warmup:
        rising = {
            "warmup_target": config.learning_rate,
            "warmup_steps": max(int(steps * warmup), 1),
        }
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate, steps, **rising
    )
    return keras.optimizers.AdamW(
        schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm
    )

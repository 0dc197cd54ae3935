"""The learning rate as a pure function of the step (docs/interpretations.md#9)."""

import math

from dsnet.config.detector import Train

_DROPS = (0.60, 0.85)  # of all steps; torchvision's reference drops after 16 and 22 of 26 epochs


def learning_rate(step: int, steps: int, config: Train) -> float:
    """Return the rate of optimiser step `step` (from 0) out of `steps`.

    It rises linearly over ``warmup_steps``, and from there follows ``schedule``: ``constant``;
    ``step``, a tenth after each of `_DROPS`; or ``cosine``, half a wave down to 0 at the end.
    """
    warm_up = min(1.0, (step + 1) / (config.warmup_steps + 1))
    return config.learning_rate * warm_up * _decay(step, steps, config)


def _decay(step: int, steps: int, config: Train) -> float:
    if config.schedule == "step":
        return float(0.1 ** sum(step >= drop * steps for drop in _DROPS))
    if config.schedule == "cosine":
        left = steps - config.warmup_steps
        progress = (step - config.warmup_steps) / left if left > 0 else 0.0
        return 0.5 * (1 + math.cos(math.pi * max(0.0, progress)))
    return 1.0

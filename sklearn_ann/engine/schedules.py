"""Learning rates by epoch."""

from __future__ import annotations

import numpy as np

SCHEDULES = ("constant", "invscaling", "adaptive", "cosine", "one_cycle")


def scheduled_rates(
    schedule: str,
    base: np.ndarray,
    epoch: np.ndarray,
    horizon: np.ndarray,
    rows_seen: np.ndarray,
    power_t: np.ndarray,
) -> np.ndarray:
    """Learning rates of the coming epoch, (K,).

    Parameters
    ----------
    schedule : str
        "constant" and "adaptive" (whose base is lowered by the loop) take the base as
        it is; "invscaling" divides by (rows seen + 1)^power_t, as scikit-learn's;
        "cosine" falls to zero along half a cosine (Loshchilov and Hutter 2017);
        "one_cycle" rises from base / 25 to base over the first 30% of the epochs, then
        falls to base / 1e4, along cosines (Smith and Topin 2019).
    base : ndarray of shape (K,)
    epoch, horizon : ndarray of shape (K,)
        Epochs done in this call and epochs it may take.
    rows_seen, power_t : ndarray of shape (K,)
    """
    if schedule == "invscaling":
        return base / (rows_seen + 1.0) ** power_t
    progress = np.clip(epoch / np.maximum(horizon, 1), 0.0, 1.0)
    if schedule == "cosine":
        return base * 0.5 * (1.0 + np.cos(np.pi * progress))
    if schedule == "one_cycle":
        rising = progress < 0.3
        part = np.where(rising, progress / 0.3, (progress - 0.3) / 0.7)
        low = np.where(rising, base / 25.0, base / 1e4)
        wave = 0.5 * (1.0 - np.cos(np.pi * part))
        return np.where(rising, low + (base - low) * wave, base - (base - low) * wave)
    return base

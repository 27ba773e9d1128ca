"""Long passages in windows, and hits folded back to their passages by the best window."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def check(window: int, stride: int) -> None:
    """Raise `ValueError` for windows that leave gaps."""
    if window and not 0 < stride <= window:
        raise ValueError(f"--stride {stride}: it has to be from 1 to --window {window}")


def windows(text: str, size: int, stride: int) -> list[str]:
    """Return the windows of `size` characters every `stride`, up to the one that reaches the end; 0: the whole text."""
    if not size or len(text) <= size:
        return [text]
    return [text[start : start + size] for start in range(0, len(text) - size + stride, stride)]


def split(texts: Iterable[str], size: int, stride: int) -> tuple[list[str], list[int]]:
    """Return the windows of all texts, and where each text's windows begin."""
    parts: list[str] = []
    starts: list[int] = []
    for text in texts:
        starts.append(len(parts))
        parts += windows(text, size, stride)
    return parts, starts


def fold(scores: "np.ndarray", starts: Sequence[int]) -> "np.ndarray":
    """Return the best score of each text's windows: (queries, windows) → (queries, texts)."""
    import numpy as np

    return scores if len(starts) == scores.shape[1] else np.maximum.reduceat(scores, starts, axis=1)

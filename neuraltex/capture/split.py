"""Which frames are learned from and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuraltex.errors import InputError

HOLD_OUT_EVERY = 8


def split_frames(
    names: Sequence[str],
    train_names: Sequence[str] | None,
    test_names: Sequence[str] | None,
    *,
    source: Path,
) -> tuple[list[int], list[int]]:
    """Indices of training and held-out frames.

    Where the camera file lists names, they decide; if it lists one side only, the other frames are the other side.
    Else every 8th frame is held out (index % 8 == 0 in file order).

    Args:
        names: of all frames, in file order.
        train_names: as the camera file lists them, or None; names that are not in `names` are passed over.
        test_names: likewise.
        source: the camera file, for errors.

    Raises:
        InputError: fewer than 2 training frames.
    """
    if train_names is None and test_names is None:
        test = list(range(0, len(names), HOLD_OUT_EVERY))
        train = [i for i in range(len(names)) if i % HOLD_OUT_EVERY]
    else:
        listed_train = set(train_names if train_names is not None else set(names) - set(test_names or ()))
        listed_test = set(test_names if test_names is not None else set(names) - set(train_names or ()))
        train = [i for i, name in enumerate(names) if name in listed_train]
        test = [i for i, name in enumerate(names) if name in listed_test]
    if len(train) < 2:
        raise InputError(
            source,
            f"{len(train)} of {len(names)} frames would be left to learn from, at least 2 are needed",
            hint="capture more frames or list fewer for testing",
        )
    return train, test

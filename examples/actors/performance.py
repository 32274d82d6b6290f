"""What an actor does: expressions and head poses over time, and a face of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuraltex.reenactment.rig import Rig

Array = NDArray[np.float64]

FPS = 25
# Frames that show the neutral face from the front, from which everything else is told apart.
CALM = 6
# What faces do together: the names without their side, how strongly at most, and how often.
GESTURES: tuple[tuple[dict[str, float], float], ...] = (
    ({"mouthSmile": 0.9, "cheekSquint": 0.6}, 2.0),
    ({"mouthSmile": 0.6, "jawOpen": 0.35, "mouthUpperUp": 0.4}, 1.0),
    ({"jawOpen": 0.7}, 2.0),
    ({"jawOpen": 0.4, "mouthFunnel": 0.7}, 1.0),
    ({"mouthPucker": 0.9}, 1.5),
    ({"mouthFrown": 0.8, "mouthShrugLower": 0.4}, 1.0),
    ({"mouthStretch": 0.7}, 1.0),
    ({"mouthLowerDown": 0.6, "mouthUpperUp": 0.5}, 1.0),
    ({"mouthPress": 0.7}, 0.7),
    ({"mouthLeft": 0.7}, 0.7),
    ({"mouthRight": 0.7}, 0.7),
    ({"jawLeft": 0.5}, 0.4),
    ({"jawForward": 0.5}, 0.4),
    ({"browInnerUp": 0.9, "browOuterUp": 0.7}, 2.0),
    ({"browDown": 0.9}, 2.0),
    ({"browInnerUp": 0.8}, 1.0),
    ({"noseSneer": 0.8}, 1.0),
    ({"eyeSquint": 0.8}, 1.0),
    ({"eyeWide": 0.9}, 1.0),
    ({"cheekPuff": 0.7}, 0.6),
    ({"eyeLookUp": 0.5}, 0.7),
    ({"eyeLookDown": 0.5}, 0.7),
)


def expressions(names: tuple[str, ...], num_frames: int, seed: int) -> Array:
    """`[N, E]` coefficients of 0 to 1: gestures that rise, stay and fall, one after another and overlapping."""
    rng = np.random.default_rng(seed)
    weights = np.array([often for _, often in GESTURES])
    coefficients = np.zeros((num_frames, len(names)))
    start = float(CALM)
    while start < num_frames:
        gesture = GESTURES[rng.choice(len(GESTURES), p=weights / weights.sum())][0]
        strength = rng.uniform(0.6, 1.0)
        one_sided = rng.random() < 0.15
        rise = bump(num_frames, start, rng.uniform(5, 9), rng.uniform(2, 8), rng.uniform(5, 10))
        for name, most in gesture.items():
            for suffix in ("", "_L", "_R"):
                if name + suffix in names:
                    share = 0.4 if one_sided and suffix == "_R" else 1.0
                    column = coefficients[:, names.index(name + suffix)]
                    np.maximum(column, share * strength * most * rise, out=column)
        start += rng.uniform(4, 10)
    for blink in np.cumsum(rng.uniform(25, 55, num_frames // 25)) + CALM:
        for name in ("eyeBlink_L", "eyeBlink_R"):
            column = coefficients[:, names.index(name)]
            np.maximum(column, bump(num_frames, blink, 3, 1, 3), out=column)
    return coefficients


def bump(num_frames: int, start: float, rise: float, stay: float, fall: float) -> Array:
    """`[N]` from 0 to 1 and back to 0."""
    time = np.arange(num_frames) - start
    level = np.minimum(np.clip(time / rise, 0, 1), np.clip((rise + stay + fall - time) / fall, 0, 1))
    return level * level * (3 - 2 * level)


def poses(num_frames: int, seed: int) -> Array:
    """`[N, 4, 4]` head to world: turned about the neck and shifted, starting from the front."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_frames) / FPS
    eased = np.clip((np.arange(num_frames) - CALM) / 20, 0, 1)
    eased = eased * eased * (3 - 2 * eased)
    # Yaw, pitch, roll in degrees; x, y, z in the rig's unit.
    reach = np.array([17.0, 8.0, 6.0, 0.9, 0.5, 1.5])
    curves = np.zeros((num_frames, 6))
    for rate in (0.13, 0.22, 0.37):
        phase, speed = rng.uniform(0, 2 * np.pi, 6), rate * rng.uniform(0.8, 1.25, 6)
        curves += rng.uniform(0.35, 0.75, 6) * np.sin(2 * np.pi * speed * time[:, None] + phase)
    curves *= reach * eased[:, None]
    pivot = np.array([0.0, -9.0, -1.0])
    result = np.tile(np.eye(4), (num_frames, 1, 1))
    for k, (yaw, pitch, roll, *shift) in enumerate(curves):
        turn = rotation(1, yaw) @ rotation(0, pitch) @ rotation(2, roll)
        result[k, :3, :3] = turn
        result[k, :3, 3] = pivot - turn @ pivot + shift
    return result


def rotation(axis: int, angle_deg: float) -> Array:
    """`[3, 3]` about a coordinate axis."""
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    matrix = np.eye(3)
    first, second = [k for k in range(3) if k != axis]
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = (-sine, sine) if axis != 1 else (sine, -sine)
    return matrix


def identity(rig: Rig, seed: int) -> Array:
    """`[I]` coefficients of a random person, whose spread the rig's deltas carry."""
    return np.random.default_rng(seed).normal(0.0, 0.8, len(rig.identity_deltas)).clip(-1.8, 1.8)

"""The vase twists about its axis, more and more towards its rim: vertices are moved by a function of NumPy arrays."""

import numpy as np


def edit(scene, t):
    vase = scene["vase"]
    middle = vase.center

    def twist(verts):
        height = verts[:, 2] / verts[:, 2].max()
        angle = np.radians(90) * t * height
        x, y = verts[:, 0] - middle[0], verts[:, 1] - middle[1]
        wider = 1 + 0.25 * t * np.sin(np.pi * height)
        turned = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=1)
        return np.column_stack([middle[:2] + wider[:, None] * turned, verts[:, 2]])

    vase.deform(twist)

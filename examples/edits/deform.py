"""The vase swells and bends: a function moves every vertex, as NumPy arrays, and what hangs on the surface follows."""

import numpy as np


def edit(scene, t):
    vase = scene["vase"]
    x, y, _ = vase.center

    def bend(verts):
        height = verts[:, 2] / verts[:, 2].max()
        wider = 1 + 0.25 * t * np.sin(np.pi * height)[:, None]
        verts[:, :2] = [x, y] + wider * (verts[:, :2] - [x, y])
        verts[:, 0] += 0.2 * t * height**2
        return verts

    vase.deform(bend)

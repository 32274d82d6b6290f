"""The duck glides forward and turns; its shadow goes along. t is the time in seconds."""


def edit(scene, t):
    duck = scene["duck"]
    duck.move([-0.15 * t, -0.15 * t, 0.0])
    duck.rotate(60 * t, "z")

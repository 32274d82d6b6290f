"""A second, smaller pear is lowered onto the table beside the first; a copy is a part like any other."""


def edit(scene, t):
    pear = scene["pear"].copy("small pear")
    pear.move([0.55, -0.45, 0.0])
    foot = pear.center
    pear.scale(0.7, about=[foot[0], foot[1], 0.0])
    pear.move([0.0, 0.0, max(0.0, 0.5 - 0.5 * t)])

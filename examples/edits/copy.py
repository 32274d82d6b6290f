"""A second, smaller pear is lowered onto the table before the vase; a copy is a part like any other."""


def edit(scene, t):
    pear = scene["pear"].copy("small pear")
    pear.move([-1.35, 0.0, 0.0])
    x, y, _ = pear.center
    pear.scale(0.7, about=[x, y, 0.0])
    pear.move([0.0, 0.0, max(0.0, 0.5 - 0.5 * t)])

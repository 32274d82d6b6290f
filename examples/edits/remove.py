"""The torus vanishes after half a second, and the light that it kept from the table comes back."""


def edit(scene, t):
    if t >= 0.5:
        scene["torus"].hide()

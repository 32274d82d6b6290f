"""A blendshape rig and videos of two people in, one person's expressions on the other out."""

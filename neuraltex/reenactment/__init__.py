"""A blendshape rig and videos of two people in; one person's expressions on the other out.

`load_rig` reads the rig. `track_video` fits it to a video of one head, by gradients through the rasterizer, and leaves
a `Track`: a folder of coefficients that is also a capture, with the head as an animated mesh, on which a neural texture
is trained like on any other. `carry_over` puts another track's expressions onto it, and `reenact` renders them.
"""

from neuraltex.reenactment.fit import FitConfig
from neuraltex.reenactment.reenact import Performance, carry_over, reenact
from neuraltex.reenactment.rig import Rig, load_rig
from neuraltex.reenactment.track import track_video
from neuraltex.reenactment.track_files import Track

__all__ = ["FitConfig", "Performance", "Rig", "Track", "carry_over", "load_rig", "reenact", "track_video"]

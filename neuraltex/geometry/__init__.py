"""Mesh files come in; out come scenes of named parts and the flat buffers that are rendered.

`load_scene` reads OBJ with our own reader and GLB, glTF, PLY, STL and OFF through trimesh, checks the texture
coordinates and makes them usable for one texture. A `Scene` is a list of `Part`s, each with a transform and a switch
that hides it, in the file's own frame and unit; `Scene.flatten` gives the `Mesh` that the rasterizer reads, and
`Scene.save` and `Scene.load` keep a scene in one file beside a training run.

`read_motion` reads how a mesh file's vertices move; `Motion.onto` makes that the motion of a flat mesh, and a `Poser`
puts the mesh into any of its frames.
"""

from neuraltex.geometry.load import load_scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.motion import Motion
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.obj import ObjData, read_obj
from neuraltex.geometry.part import Part
from neuraltex.geometry.poser import Poser
from neuraltex.geometry.read_motion import read_motion
from neuraltex.geometry.scene import Scene
from neuraltex.geometry.uv_check import check_uvs
from neuraltex.geometry.uv_report import UvReport

__all__ = [
    "Material",
    "Mesh",
    "Motion",
    "ObjData",
    "Part",
    "Poser",
    "Scene",
    "UvReport",
    "check_uvs",
    "load_scene",
    "read_motion",
    "read_obj",
]

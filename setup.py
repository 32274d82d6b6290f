"""Package metadata. The torch range is what the suite is run on; wider ranges pull untested builds."""

from pathlib import Path

from setuptools import find_packages, setup

# Written out rather than derived: each extra is named in an error message by `neuraltex.optional`.
EXTRAS = {
    "test": [
        "pytest>=8",
        "pytest-xdist>=3.6",
        "hypothesis>=6.100",
        "beartype>=0.18",
        "pycolmap>=4",
        "scipy>=1.11",
        "scikit-image>=0.22",
        "fast-simplification>=0.1.7",
        "viser>=1.1",
        # Its wheels end there.
        "flip-evaluator>=1.7; platform_system == 'Linux' and python_version < '3.14'",
        # CUDA builds of torch bring their own; without one the kernels are tested in its interpreter.
        "triton>=3.6; platform_system == 'Linux'",
    ],
    "view": ["viser>=1.1"],
    "dev": ["ruff==0.15.0", "mypy>=1.15", "mitsuba>=3.6", "fast-simplification>=0.1.7"],
    "metrics": ["lpips>=0.1.4"],
    # Builds its kernels at first use, with the CUDA toolkit of torch's version.
    "splats": ["gsplat==1.5.3"],
    "poses": ["pycolmap>=4", "scipy>=1.11"],
    # Hulls of masks need all but Open3D, which lays surfaces through sparse points.
    "reconstruct": ["scikit-image>=0.22", "scipy>=1.11", "fast-simplification>=0.1.7", "open3d>=0.19"],
}

setup(
    name="neuraltex",
    version="0.1.0",
    description="Deferred neural rendering: photographs of a mesh that were never taken",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["neuraltex", "neuraltex.*"]), "neuraltex.bundled"],
    # The bundled scene lies at the top of the repository, where people look for meshes; installed, it travels inside
    # the package.
    package_dir={"neuraltex.bundled": "meshes"},
    package_data={
        "neuraltex": ["py.typed"],
        "neuraltex.bundled": ["**/*"],
        "neuraltex.evaluation": ["page.css", "page.js"],
    },
    install_requires=[
        "torch>=2.11,<2.14",
        "numpy>=1.26",
        "trimesh>=4.4",
        "xatlas>=0.0.9",
        "imageio[pyav]>=2.34",
        "av>=14",
        "pillow>=10",
        "opencv-python-headless>=4.9",
        "safetensors>=0.4.3",
        "jaxtyping>=0.2.30",
        "tyro>=0.9",
        "rich>=13",
        "tensorboard>=2.16",
        "setuptools",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["neuraltex=neuraltex.cli:main"]},
)

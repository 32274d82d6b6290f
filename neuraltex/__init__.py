"""Deferred neural rendering: an OBJ with UVs and a video go in, photographs that were never taken come out."""

import os

# Read when torch's thread pool starts. Threads that wait by spinning take the core from those they wait for as soon as
# another program runs: beside one busy process a training step on two cores took 3.6 s. Threads that soon go to sleep
# take 0.12 s there, and 0.066 s instead of 0.064 on a quiet machine.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"

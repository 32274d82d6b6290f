"""Deferred neural rendering: an OBJ with UVs and a video go in, photographs that were never taken come out."""

__version__ = "0.1.0"

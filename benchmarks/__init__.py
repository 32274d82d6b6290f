"""Measurements of ours against peers and earlier versions, each a module to run."""

import neuraltex  # noqa: F401 - before torch, for the sake of its threads

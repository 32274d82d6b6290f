"""Benchmarks are run by hand and rarely; that they still fit the package is found out here."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import benchmarks

MODULES = sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_what_a_benchmark_takes_from_the_package_is_there(name):
    assert importlib.import_module(f"benchmarks.{name}").__doc__

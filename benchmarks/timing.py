"""Medians of repeated calls: by wall clock on a CPU, by events and by graph replay on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import torch


def median_ms(action: Callable[[], object], *, device: torch.device, seconds: float = 1.0, most: int = 200) -> float:
    """Median time of one call in milliseconds.

    On a GPU each call is timed by a pair of events, so the host's part counts as far as the device waits for it.

    Args:
        action: what to time; it may leave work running on the device.
        device: where it computes.
        seconds: about how long to repeat it for, after a warm-up.
        most: repetitions at most.
    """
    if device.type != "cuda":
        return _median_wall_ms(action, seconds, most)
    start = time.perf_counter()
    action()
    torch.cuda.synchronize(device)
    once = time.perf_counter() - start
    repeats = max(2, min(most, int(seconds / max(once, 1e-6))))
    for _ in range(min(repeats - 1, 10)):
        action()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        action()
        end.record()
    torch.cuda.synchronize(device)
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


def _median_wall_ms(action: Callable[[], object], seconds: float, most: int) -> float:
    times: list[float] = []
    stop = time.perf_counter() + seconds
    action()
    while len(times) < 3 or (time.perf_counter() < stop and len(times) < most):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def replay(action: Callable[[], object]) -> Callable[[], object]:
    """The same work as a CUDA graph: captured once, launched without the host's part."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            action()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        action()
    return graph.replay


def peak_mib(action: Callable[[], object]) -> float:
    """Device memory that one call takes beyond what was held before, in MiB."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    action()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def kernels(action: Callable[[], object], *, most: int = 12) -> dict[str, float]:
    """Microseconds that one call's kernels take on the device, the longest ones by name, and all together."""
    action()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True) as profiler:
        action()
        torch.cuda.synchronize()
    times: dict[str, float] = {}
    for event in profiler.key_averages():
        times[event.key[:60]] = times.get(event.key[:60], 0.0) + event.self_device_time_total
    longest = sorted(times.items(), key=lambda item: -item[1])[:most]
    return {**dict(longest), "all": sum(times.values())}


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures of a run hold for."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    versions = {"torch": torch.__version__}
    for package in ("triton", "pytorch3d", "nvdiffrast"):
        try:
            versions[package] = getattr(__import__(package), "__version__", "of unknown version")
        except ImportError:
            continue
    return {"date": date.today().isoformat(), "machine": name, "versions": versions}


def show(row: dict[str, Any]) -> None:
    """One line of a table while it is being measured."""
    cells = ((k, v) for k, v in row.items() if not isinstance(v, dict))
    print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in cells), flush=True)
    for name, microseconds in row.get("kernels", {}).items():
        print(f"    {microseconds:8.1f} us  {name}", flush=True)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows of figures as a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        lines.append("| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells) + " |")
    return "\n".join(lines)

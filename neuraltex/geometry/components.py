"""Connected components and welding, in numpy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def connected_components(
    num_nodes: int, a: Int[np.ndarray, "E"], b: Int[np.ndarray, "E"]
) -> Int[np.ndarray, "num_nodes"]:
    """Number the components of a graph.

    Args:
        num_nodes: nodes are 0 to `num_nodes` - 1.
        a: `[E]` one end of each link.
        b: `[E]` the other end.

    Returns:
        `[num_nodes]` component of each node, numbered from 0 by their lowest node.
    """
    root = np.arange(num_nodes)
    while len(a):
        # Hook the higher root of each link under the lower one, then let every node jump to its root.
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        open_links = low != high
        a, b, low, high = a[open_links], b[open_links], low[open_links], high[open_links]
        np.minimum.at(root, high, low)
        while True:
            jumped = root[root]
            if (jumped == root).all():
                break
            root = jumped
    return np.unique(root, return_inverse=True)[1].reshape(-1)


def weld(verts: Float[np.ndarray, "V D"]) -> tuple[Int[np.ndarray, "U"], Int[np.ndarray, "V"]]:
    """Find identical rows.

    Returns:
        `[U]` the first row of each distinct position, in the order of the rows, and `[V]` the position of each row.
    """
    # Adding 0 makes -0 and 0 the same bytes; whole rows are then compared as one opaque value.
    rows = np.ascontiguousarray(verts + 0.0)
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.ones(len(rows), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    group = np.cumsum(new) - 1
    # lexsort is stable: the first row of each group is its lowest.
    lowest = order[new]
    rank = np.empty(len(lowest), np.int64)
    rank[np.argsort(lowest)] = np.arange(len(lowest))
    inverse = np.empty(len(rows), np.int64)
    inverse[order] = rank[group]
    return np.sort(lowest), inverse


def compact(indices: Int[np.ndarray, "F 3"], num_rows: int) -> tuple[Int[np.ndarray, "U"], Int[np.ndarray, "F 3"]]:
    """Keep only the rows that are used: the rows in their old order, and the indices renumbered. -1 stays -1."""
    used = np.zeros(num_rows, bool)
    used[indices[indices >= 0]] = True
    renumbered = np.append(np.cumsum(used) - 1, -1)
    return np.flatnonzero(used), renumbered[indices]


def number_rows(*columns: Int[np.ndarray, "N"]) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "U"]]:
    """Number the distinct rows of several columns in rising order.

    Returns:
        `[N]` number of each row, from 0, and `[U]` some row that has each number.
    """
    num_rows = len(columns[0])
    key, size = np.zeros(num_rows, np.int64), 1
    for column in columns:
        digit, width = _digits(column)
        if size * width > 2**62:
            key, size = _digits(np.unique(key, return_inverse=True)[1].reshape(-1))
        key, size = key * width + digit, size * width
    if size <= 4 * num_rows + 1_000_000:
        used = np.zeros(size, bool)
        used[key] = True
        labels, num = (np.cumsum(used) - 1)[key], int(used.sum())
    else:
        distinct, labels = np.unique(key, return_inverse=True)
        labels, num = labels.reshape(-1), len(distinct)
    example = np.zeros(num, np.int64)
    example[labels] = np.arange(num_rows)
    return labels, example


def _digits(column: Int[np.ndarray, "N"]) -> tuple[Int[np.ndarray, "N"], int]:
    """The column as numbers from 0 in the same order, and a bound above them."""
    if not len(column):
        return column, 1
    low, width = int(column.min()), int(column.max()) - int(column.min()) + 1
    if width > 4 * len(column) + 1_000_000:
        distinct, column = np.unique(column, return_inverse=True)
        return column.reshape(-1), len(distinct)
    return column - low, width

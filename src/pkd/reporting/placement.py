"""Positions of the labels in the kept chart, without overlaps, whatever the results are.

Takes points as plain data, and writes into each its horizontal shift in pixels and the position of its label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

HEIGHT = 340  # pixels of the plot
_LABEL_STEP = 17  # pixels between the lines of labels
_DODGE = 10  # pixels between points of the same x


def place_labels(points: list[dict[str, Any]], domain: list[float], widest: float, by_speed: bool) -> None:
    """Give each point its horizontal shift, and its label a position of its own.

    Points of about the same x are a cluster, whose labels form one column on the side that has more room.
    """
    clusters: list[list[dict[str, Any]]] = []
    for point in sorted(points, key=lambda point: point["x"]):
        if clusters and point["x"] - clusters[-1][0]["x"] < 0.06 * widest:
            clusters[-1].append(point)
        else:
            clusters.append([point])
    teacher_x = next((point["x"] for point in points if point["role"] == "teacher"), 0.0)
    edges = [0.0, *(cluster[0]["x"] for cluster in clusters), widest]
    room_right = edges[-1] - edges[-2]
    for index in reversed(range(len(clusters))):
        cluster = sorted(clusters[index], key=lambda point: -point["score"])
        room_left = edges[index + 1] - edges[index]
        side = "left" if room_left >= room_right else "right"
        room_right = 0.0 if side == "left" else room_left
        half = (len(cluster) - 1) / 2 * _DODGE
        away = (half + 14) * (-1 if side == "left" else 1)
        for rank, (point, label_y) in enumerate(zip(cluster, _spread(cluster, domain), strict=True)):
            point |= {"dodge": rank * _DODGE - half, "label_y": label_y, "side": side, "label_offset": away}
            point |= {
                "alone": len(cluster) == 1,
                "cost": "",
                "cost_offset": (half + 12) * (1 if side == "left" else -1),
            }
            if point["role"] == "teacher" and point["alone"]:  # above its own line
                point["label_y"] += (domain[1] - domain[0]) / HEIGHT * 11
        ratio = sum(point["x"] for point in cluster) / len(cluster) / teacher_x if teacher_x else 0.0
        if ratio and all(point["role"] != "teacher" for point in cluster):
            cluster[0]["cost"] = f"{ratio:.1f}× as fast" if by_speed else f"{ratio * 100:.0f} % of the size"


def _spread(cluster: list[dict[str, Any]], domain: list[float]) -> list[float]:
    """The labels' heights: as close to their points as a line height apart allows (least squares)."""
    step = (domain[1] - domain[0]) / HEIGHT * _LABEL_STEP
    ranks = np.arange(len(cluster))
    wanted = np.array([point["score"] for point in cluster]) + ranks * step
    placed = isotonic_regression(wanted, increasing=False).x
    # The whole column stays inside the plot, and above the line with the speed.
    lowest, highest = domain[0] + (len(cluster) + 1) * step, domain[1] - step / 2
    return [float(height) for height in np.clip(placed, min(lowest, highest), highest) - ranks * step]

"""How good shapes are: distances of points and of sets, silhouettes, and what a mesh is made of."""

from __future__ import annotations

from fewstep.three_d.metrics.chamfer import chamfer, chamfer_matrix
from fewstep.three_d.metrics.frechet import frechet
from fewstep.three_d.metrics.sets import coverage, minimum_matching_distance, nearest_neighbour_accuracy
from fewstep.three_d.metrics.silhouettes import silhouette_distance, silhouette_features
from fewstep.three_d.metrics.solids import occupancy_iou, surface_points

__all__ = [
    "chamfer",
    "chamfer_matrix",
    "coverage",
    "frechet",
    "minimum_matching_distance",
    "nearest_neighbour_accuracy",
    "occupancy_iou",
    "silhouette_distance",
    "silhouette_features",
    "surface_points",
]

"""The review of a burden: candidates of all markers in one list, those first that nobody has decided on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from csvd.sequences import SEQUENCE_OF
from csvd_slicer.burden_nodes import BurdenNodes
from csvd_slicer.burden_scene import update
from csvd_slicer.highlight import nearest_to_centroid

if TYPE_CHECKING:
    from csvd.burden_result import BurdenResult
    from csvd.measure.strive import Candidate


@dataclass(frozen=True, eq=False)
class Item:
    """A candidate to decide on.

    Attributes:
        candidate: its row in the table of candidates.
        voxels: its voxels on its own sequence, three arrays of indices (i, j, k).
        voxel: the one of them that is nearest to the centroid.
    """

    candidate: Candidate
    voxels: tuple[np.ndarray, np.ndarray, np.ndarray]
    voxel: tuple[int, int, int]

    @property
    def sequence(self) -> str:
        return SEQUENCE_OF[self.candidate.marker]


def review_items(result: BurdenResult) -> list[Item]:
    """Every candidate: first those that count, then those that size or a reader rejected; the likeliest errors first.

    Those that count are in the order of rising probability, the rejected ones in that of falling probability.
    """
    items = []
    for found in result.focal.values():
        for candidate, flat in zip(found.candidates, found.voxels, strict=True):
            voxels = np.unravel_index(flat, found.probability.shape)
            items.append(Item(candidate, voxels, nearest_to_centroid(voxels, found.image.spacing_mm)))
    return sorted(items, key=_order)


def progress(items: list[Item]) -> tuple[int, int]:
    """How many candidates were decided on, and of how many; those that their size rejected wait for no decision."""
    open_to = [item for item in items if not item.candidate.reason or item.candidate.accepted]
    return sum(is_decided(item) for item in open_to), len(open_to)


def is_decided(item: Item) -> bool:
    """Whether a reader, or a rule of size, has decided on it."""
    return item.candidate.accepted is not None


def decide(
    nodes: BurdenNodes,
    result: BurdenResult,
    item: Item,
    accepted: bool | None,
    *,
    save_state: Callable[[], object] | None = None,
) -> BurdenResult:
    """Accept or reject a candidate, or take the decision back (None), and keep it; returns what is measured then.

    Args:
        item: one of ``review_items(result)``.
        save_state: as in `csvd_slicer.segments.write_segments`, for the segmentation of its sequence.

    Raises:
        InputError: as `csvd_slicer.segments.read_segments`.
    """
    changed = result.decide(item.candidate.id, item.candidate.marker, accepted)
    return update(nodes, changed, [item.sequence], save_states={item.sequence: save_state})


def _order(item: Item) -> tuple[bool, float]:
    candidate = item.candidate
    return not candidate.counts, candidate.mean_probability * (1 if candidate.counts else -1)

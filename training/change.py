"""What changed between two visits, ours against the experts', in the common space in which the experts marked it.

``study<i>_FLAIR_to_common_space.txt`` are ITK transforms in ITK's own sense: each carries a point of the common space
to the point of that visit's FLAIR from which it is to be filled. So they are handed to the resampler as they are
(checked: the two FLAIRs then correlate with r = .75 to .96 inside the brain, and with their inverses not at all).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csvd.image import Image
from csvd.measure.agreement import lesion_detection
from csvd.measure.clusters import Clusters
from csvd.result import Result

SAME = 0.05  # of the brain median. Choice: a component whose mean moved by less became neither brighter nor darker
MIXED = 1 / 3  # choice: where the smaller of the two parts is more than this share of the larger, the sign is unclear


def carry(voxels: np.ndarray, image: Image, space: sitk.Image, transform: sitk.Transform) -> np.ndarray:
    """Voxels on the grid of ``image`` at the voxels of ``space``, linear, 0 outside; array as SimpleITK's (k, j, i)."""
    moving = image.like(voxels.astype(np.float32)).to_sitk()
    return sitk.GetArrayFromImage(sitk.Resample(moving, space, transform, sitk.sitkLinear, 0.0))


def brighter_and_darker(change: np.ndarray, difference: np.ndarray, voxel_ml: float) -> tuple[float, float]:
    """mL of those 26-connected components of ``change`` whose mean ``difference`` rose, and fell, by ``SAME``."""
    clusters = Clusters.of(change)
    mean = clusters.mean(difference[clusters.index])
    volume = clusters.voxels * voxel_ml
    return float(volume[mean > SAME].sum()), float(volume[mean < -SAME].sum())


def sign(more: float, less: float) -> str:
    """``more``, ``less``, or ``unclear`` where the change is mixed or there is none."""
    if min(more, less) > MIXED * max(more, less) or more == less:
        return "unclear"
    return "more" if more > less else "less"


def judge_change(patient: Path, results: Sequence[Result]) -> dict:
    """Our two masks and the two FLAIRs in the common space, against the experts' mask of change; volumes in mL."""
    space = sitk.ReadImage(str(patient / "common_space_change.nii.gz"))
    experts = sitk.GetArrayFromImage(space) > 0
    voxel_ml = float(np.prod(space.GetSpacing())) / 1000
    flairs, masks, brains = [], [], []
    for visit, result in enumerate(results, 1):
        transform = sitk.ReadTransform(str(patient / f"study{visit}_FLAIR_to_common_space.txt"))
        image = result.image
        flairs.append(carry(image.voxels, image, space, transform))
        masks.append(carry(result.mask, image, space, transform) >= 0.5)
        brains.append(carry(result.brain, image, space, transform) >= 0.5)
    brain = brains[0] & brains[1]
    first, second = (flair / np.median(flair[brain]) for flair in flairs)
    brighter, darker = brighter_and_darker(experts, second - first, voxel_ml)
    volumes = [result.measurements["total_volume"].value for result in results]
    return compare(experts, masks, voxel_ml) | {
        "aligned_r": round(float(np.corrcoef(first[brain], second[brain])[0, 1]), 3),
        "volumes_ml": [round(volume, 2) for volume in volumes],
        "difference_ml": round(volumes[1] - volumes[0], 2),
        "brighter_ml": round(brighter, 2),
        "darker_ml": round(darker, 2),
        **agreement_of_signs(sign(brighter, darker), volumes[1] - volumes[0]),
    }


def agreement_of_signs(experts: str, difference_ml: float) -> dict[str, str]:
    """Whether our volume moved in the direction of the experts' change: ``yes``, ``no``, or ``unclear``."""
    ours = "more" if difference_ml > 0 else "less"
    return {"sign": experts, "same_sign": "unclear" if experts == "unclear" else "yes" if ours == experts else "no"}


def compare(experts: np.ndarray, masks: Sequence[np.ndarray], voxel_ml: float) -> dict:
    """Our change, visit 2 XOR visit 1, against the experts' by 26-connected components; any overlap is a hit."""
    ours = masks[0] ^ masks[1]
    detection = lesion_detection(ours, experts)
    net = np.count_nonzero(masks[1] & experts) - np.count_nonzero(masks[0] & experts)
    return {
        "experts_change_ml": round(np.count_nonzero(experts) * voxel_ml, 2),
        "experts_components": Clusters.of(experts).count,
        "our_change_ml": round(np.count_nonzero(ours) * voxel_ml, 2),
        "recall": round(detection.recall, 3),
        "precision": round(detection.precision, 3),
        "net_inside_experts_ml": round(net * voxel_ml, 2),
    }

"""How sure the ensemble is: the uncertainty index of Kim et al., AJNR 2024 (doi 10.3174/ajnr.A8418).

The divergence of the ensemble's mean probability p from a coin toss is taken in **bits**:
KL(p || 1/2) = 1 - H2(p), 0 when the members cannot tell and 1 when they are certain. (In nats the same limit would
fall at p = .952 instead of .890, and almost every lesion would seem uncertain.)

The index also encodes volume: small lesion loads have relatively more border, and Kim reports less than about .2
above 10 mL and more than about .3 below 4 mL.
"""

import numpy as np
from scipy.special import entr

from csvd.measure.reference import cutoff

VOXEL_LIMIT = cutoff("uncertain_voxel").value
REVIEW_LIMIT = cutoff("review").value


def divergence(probability: np.ndarray) -> np.ndarray:
    """Return KL(p || 1/2) in bits, 0 .. 1, of probabilities of any shape; float32 stays float32."""
    return 1 - _entropy(np.asarray(probability))


def uncertainty_map(probability: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
    """Return 1 - KL, the map that grows with uncertainty: 1 at p = .5, 0 at p = 0 or 1; float32, same shape.

    Outside the mask ``within`` it is 0. This map is what the authors' own code returns; their rule for a voxel
    (KL < .5) is on KL itself.
    """
    uncertainty = np.zeros(probability.shape, dtype=np.float32)
    here = probability > 0
    if within is not None:
        here &= within
    uncertainty[here] = _entropy(probability[here])
    return uncertainty


def is_uncertain(probability: np.ndarray) -> np.ndarray:
    """Return where KL < .5 bit, that is .110 < p < .890."""
    return divergence(probability) < VOXEL_LIMIT


def uncertainty_index(probability: np.ndarray, mask: np.ndarray) -> float | None:
    """Return the share (0 .. 1) of the WMH voxels in ``mask`` that are uncertain; ``None`` when there is none.

    At threshold .5 the uncertain ones are those with .5 <= p < .890. The index speaks of the ensemble, not of
    the mask: a voxel painted by hand where p is near 0 counts as certain, for the ensemble was.
    """
    predicted = probability[mask]
    if predicted.size == 0:
        return None
    return float(np.count_nonzero(is_uncertain(predicted)) / predicted.size)


def _entropy(probability: np.ndarray) -> np.ndarray:
    probability = np.clip(probability, 0, 1)
    return (entr(probability) + entr(1 - probability)) / probability.dtype.type(np.log(2))

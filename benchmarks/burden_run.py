"""One measured prediction of all four markers in a process of its own; prints one line of JSON, writes the maps.

burden_run.py shared MODEL STACKS MAPS       as the pipeline does it: on each sequence one encoder, then its decoders
burden_run.py separate MODEL STACKS MAPS     a network of its own for every marker, with the same weights

STACKS is a .npz with the slices of each sequence as the networks get them, (R, A, S) float32; MAPS gets a probability
map by marker. Only the prediction is timed.
"""

import json
import sys
import time

import numpy as np
from one_run import memory_mb

from csvd.bundle import Bundle, load_bundle
from csvd.inference import Predictor
from csvd.networks.mounet import Routed
from csvd.preprocessing import BACKGROUNDS
from csvd.sequences import SEQUENCES


def predictor_for(bundle: Bundle, markers: tuple[str, ...]) -> Predictor:
    decoders = [bundle.card["labels"].index(marker) for marker in markers]
    networks = [Routed(network, decoders) for network in bundle.networks()]
    return Predictor(networks, bundle.canvas, "cpu", independent=True, slices=bundle.slices)


def predict(bundle: Bundle, predictors: dict, stacks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Probability of every marker on the slices of its sequence, (R, A, S)."""
    maps = {}
    for (sequence, markers), predictor in predictors.items():
        stack = stacks[sequence]
        found = np.zeros((len(markers), *stack.shape), np.float32)
        for slices, window, batch in predictor.batches(stack, BACKGROUNDS[bundle.intensity]):
            found[(slice(None), *window, slices)] = batch.transpose(1, 2, 3, 0)
        maps |= dict(zip(markers, found, strict=True))
    return maps


def main() -> None:
    which, model, stacks_path, maps_path = sys.argv[1:]
    bundle, stacks = load_bundle(model), dict(np.load(stacks_path))
    groups = {
        "shared": list(SEQUENCES.items()),
        "separate": [(sequence, (marker,)) for sequence, markers in SEQUENCES.items() for marker in markers],
    }[which]
    predictors = {group: predictor_for(bundle, group[1]) for group in groups}
    predict(bundle, predictors, {sequence: stack[:, :, :1] for sequence, stack in stacks.items()})  # loads what is late
    before_mb, started = memory_mb("VmHWM"), time.perf_counter()
    maps = predict(bundle, predictors, stacks)
    seconds = time.perf_counter() - started
    np.savez(maps_path, **maps)
    print(json.dumps({"seconds": seconds, "before_mb": before_mb, "peak_mb": memory_mb("VmHWM")}))


if __name__ == "__main__":
    main()

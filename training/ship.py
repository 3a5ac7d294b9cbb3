"""Make a bundle from finished runs: ``python -m training.ship wmh-seunet``.

What never changes of a model card stands in ``training/cards/<id>.json``, with the runs whose weights it ships; this
adds sizes and checksums, how each run was trained, and the scores that ``training.judge`` measured.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from csvd.bundle import PACKED, SCALE, load_bundle

from .recipe import HERE, read_recipe

MODELS = HERE.parent / "Resources" / "Models"


def shipped() -> Iterator[tuple[Path, dict]]:
    """Folder and card of every bundle."""
    for path in sorted(MODELS.glob("*/model.json")):
        yield path.parent, json.loads(path.read_text(encoding="utf-8"))


def weights_of(run: str) -> dict[str, torch.Tensor]:
    """Weights of a finished run: as it left them here, or else as the bundle that holds them ships them."""
    own = HERE / "runs" / run / "weights.safetensors"
    if own.exists():
        return load_file(own)
    for folder, card in shipped():
        members = [row["note"] for row in card["weights"]]
        if run in members:
            return load_bundle(folder).networks()[members.index(run)].state_dict()
    raise SystemExit(f"Run {run} has no weights here and no bundle ships them. Train it first.")


def trained(name: str) -> dict:
    """How one run was trained: its recipe, and a dozen lines of its log, or what a shipped card says of it."""
    path, recipe = HERE / "runs" / name / "log.tsv", read_recipe(name)
    if not path.exists():
        return next(run for _, card in shipped() for run in card["training"]["runs"] if run["recipe"] == name)
    log = list(csv.DictReader(path.open(), delimiter="\t"))
    last = log[-1]
    return {
        "recipe": name,
        "start": recipe.get("start", "random weights"),
        "teacher": recipe.get("teacher", "none: synthetic slices only"),
        "seed": recipe["seed"],
        "share_of_heads_and_shapes": recipe.get("data_share", 1.0),
        "settings": recipe["settings"],
        "steps": int(last["step"]),
        "synthetic_slices": int(last["slices"]),
        "synthetic_training_dice": float(last["synthetic_dice"]),
        "curve": [
            {k: float(row[k]) for k in ("step", "loss", "synthetic_dice")}
            for row in log[:: -max(1, len(log) // 12)][::-1]
        ],
    }


def lineage(runs: list[str]) -> list[str]:
    """The runs and all that they started from or were taught by, ancestors first."""
    known: list[str] = []
    for run in runs:
        recipe = read_recipe(run)
        teachers = read_card(recipe["teacher"])["runs"] if "teacher" in recipe else []
        parents = [*teachers, recipe["start"]] if "start" in recipe else teachers
        known += [*lineage(parents), run]
    return list(dict.fromkeys(known))


def narrowed(state: dict[str, torch.Tensor], levels: int | None) -> dict[str, torch.Tensor]:
    """Weights as they are stored: fp16, or kernels as int8 of so many levels to either side of 0.

    Each slice of a kernel's first axis has its own scale. With 31 levels, git and zip pack a weight into 5 bits.
    """
    stored = {name: values.half() if values.dtype == torch.float32 else values for name, values in state.items()}
    for name, values in state.items():
        if levels and values.ndim >= 4:
            scale = values.abs().flatten(1).amax(1).clamp(min=1e-12) / levels
            stored[name] = (values / scale.reshape(-1, *[1] * (values.ndim - 1))).round().to(torch.int8)
            stored[name + SCALE] = scale
    return stored


def read_card(model: str) -> dict:
    return json.loads((HERE / "cards" / f"{model}.json").read_text(encoding="utf-8"))


def ship(model: str, models: Path = MODELS) -> Path:
    card = read_card(model)
    runs = card.pop("runs")
    folder = models / model
    folder.mkdir(parents=True, exist_ok=True)
    levels, packed = card.pop("levels", None), card.pop("packed", False)
    card["network"] = read_recipe(runs[0])["network"]
    card["weights"] = []
    for i, run in enumerate(runs, 1):
        state = weights_of(run)
        content = save({k: v.contiguous() for k, v in narrowed(state, levels).items()})
        name = f"member-{i}.safetensors" if len(runs) > 1 else "weights.safetensors"
        if packed:
            name, content = name + PACKED, gzip.compress(content, mtime=0)
        (folder / name).write_bytes(content)
        row = {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "note": run}
        card["weights"].append(row)
    card["training"]["runs"] = [trained(run) for run in lineage(runs)]
    scores = HERE / "scores" / f"{model}.json"
    card["scores"] = json.loads(scores.read_text(encoding="utf-8")) if scores.exists() else []
    (folder / "model.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for former in {*folder.glob("*.safetensors*")} - {folder / row["file"] for row in card["weights"]}:
        former.unlink()
    return load_bundle(folder).folder  # refuses a card that breaks the schema


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="+", help="names in training/cards")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the bundles (default: Resources/Models)")
    arguments = parser.parse_args()
    for model in arguments.model:
        print(ship(model, arguments.models))


if __name__ == "__main__":
    main()

"""``csvd models``: the model bundles, and whether they are intact."""

from __future__ import annotations

import argparse
import json


def add(commands) -> None:
    parser = commands.add_parser(
        "models",
        help="list the models and check their files",
        description="List the model bundles, check every weight file against its checksum and build every network.",
    )
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from ..bundle import available_models, load_bundle
    from ..errors import ModelError

    known = available_models()
    if not known:
        raise ModelError(
            "No model was found. Install SmallVesselDisease again, or set CSVD_MODELS to the folder of the models."
        )
    cards, width = [], max(map(len, known))
    for folder in known.values():
        bundle = load_bundle(folder)
        bundle.verify()
        cards.append(bundle.card)
        if not arguments.json:
            sizes = [row["bytes"] / 1e6 for row in bundle.card["weights"]]
            files = f"{len(sizes)} x {sum(sizes) / len(sizes):.1f} MB, intact"
            files += "".join(f"; votes with {other}" for other in bundle.card.get("votes_with", ()))
            needed = "".join(f"; needs {requirement}" for requirement in bundle.missing_packages)
            print(f"{bundle.id:<{width}}  {bundle.card['version']}  {files}{needed}  {bundle.card['title']}")
    if arguments.json:
        print(json.dumps(cards, indent=2, ensure_ascii=False))

"""Recipes: ``training/recipes/<name>.json``, one for each run; one that names a ``base`` changes some of its keys."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent


def read_recipe(name: str) -> dict:
    recipe = json.loads((HERE / "recipes" / f"{name}.json").read_text(encoding="utf-8"))
    if "base" in recipe:
        recipe = {**read_recipe(recipe.pop("base")), **recipe}
    return {**recipe, "name": name}

"""Recipes: ``training/recipes/<name>.json``, one for each run; one that names a ``base`` changes some of its keys.

``settings`` of a recipe replace those of its base; ``change`` replaces some of them and leaves the others.
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent


def read_recipe(name: str) -> dict:
    recipe = json.loads((HERE / "recipes" / f"{name}.json").read_text(encoding="utf-8"))
    if "base" in recipe:
        recipe = {**read_recipe(recipe.pop("base")), **recipe}
        recipe["settings"] = recipe.get("settings", {}) | recipe.pop("change", {})
    return {**recipe, "name": name}

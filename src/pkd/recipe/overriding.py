"""Overrides of a recipe's values, as `--set students.0.beta=500`."""

from __future__ import annotations

import itertools
from typing import Any

from pkd.recipe.faults import Fault, shown
from pkd.recipe.naming import Path, dotted, spot, undotted
from pkd.recipe.suggestions import hint_for


def override(values: dict[str, Any], key: str, value: Any) -> list[Fault]:
    """Set `key`, as students.0.beta, in `values`; what hinders it comes back."""
    path = undotted(key)
    reached = spot(path)
    if reached.field is None:
        return [Fault(path, f"is not known; {hint_for(reached.path)}")]
    here: Any = values
    for depth, (name, following) in enumerate(itertools.pairwise(path)):
        if isinstance(here, dict):
            if here.get(str(name)) is None:  # students left out are the one default student
                here[str(name)] = ([{}] if name == "students" else []) if isinstance(following, int) else {}
            here = here[str(name)]
        elif isinstance(here, list) and isinstance(name, int) and name < len(here):
            here = here[name]
        else:
            return [_leads_nowhere(path, depth, here)]
    if isinstance(here, dict):
        here[str(path[-1])] = value
    elif isinstance(here, list) and isinstance(path[-1], int) and path[-1] <= len(here):
        here[path[-1] : path[-1] + 1] = [value]
    else:
        return [_leads_nowhere(path, len(path) - 1, here)]
    return []


def _leads_nowhere(path: Path, depth: int, there: Any) -> Fault:
    name = dotted(path[:depth])
    if isinstance(there, list):
        places = f"they count from 0, the last is {name}.{len(there) - 1}" if there else "it is empty"
        return Fault(path, f"leads nowhere: {name} is a list of {len(there)}; {places}")
    return Fault(path, f"leads nowhere: {name} is {shown(there)}")

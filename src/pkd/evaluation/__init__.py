"""Metrics, intervals and verdicts: arrays in, numbers out; independent of models."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from pkd.evaluation.verdict import judge as judge

# imported on first use: serving imports this package too, and does not need scipy
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"verdict": ["judge"]})

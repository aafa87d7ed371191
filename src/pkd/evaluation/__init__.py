"""Arrays in, numbers out; knows no model."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from pkd.evaluation.verdict import judge as judge

# when it is first used: what is served imports this package too, and needs no scipy
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"verdict": ["judge"]})

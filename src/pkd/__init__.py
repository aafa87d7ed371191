"""Patient Knowledge Distillation of BERT-like classifiers.

`import pkd` costs milliseconds: names are loaded when they are first used. Their types stand in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

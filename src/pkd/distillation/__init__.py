"""The method."""

from pkd.distillation import losses

__all__ = ["losses"]

from serving.exported import exported

__all__ = ["exported"]

"""Pictures of networks and of results; matplotlib is imported when one is drawn."""

from .comparison import ComparisonDisplay

__all__ = ["ComparisonDisplay"]

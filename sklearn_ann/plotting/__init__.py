"""Pictures of networks and of results; matplotlib is imported when one is drawn."""

from .comparison import ComparisonDisplay
from .effects import MarginalEffectsDisplay
from .gradient_flow import GradientFlowDisplay
from .loss_curve import LossCurveDisplay
from .network import NetworkDisplay
from .partial_effect import PartialEffectDisplay

__all__ = [
    "ComparisonDisplay",
    "GradientFlowDisplay",
    "LossCurveDisplay",
    "MarginalEffectsDisplay",
    "NetworkDisplay",
    "PartialEffectDisplay",
]

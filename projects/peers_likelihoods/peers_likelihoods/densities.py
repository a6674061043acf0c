"""Densities under the names of the rules that this project adds; what is special about a rule is in its criterion."""

from torch import Tensor

from rle_onestage.modeling.density import DENSITY_REGISTRY, ReleasedDensity
from rle_onestage.modeling.density.densities import GaussianDensity


@DENSITY_REGISTRY.register(name="gaussian_matrix")
class MatrixDensity(GaussianDensity):
    """``gaussian_matrix``: the Gaussian under a scale matrix."""


@DENSITY_REGISTRY.register(name="rf_detr")
class RFDETRDensity(GaussianDensity):
    """``rf_detr``: the Gaussian of RF-DETR's precision, its covariance times the area that the loss divides by."""


@DENSITY_REGISTRY.register(name="rf_detr_published")
class PublishedDensity(GaussianDensity):
    """``rf_detr_published``: the same with the covariance as RF-DETR hands it out."""


@DENSITY_REGISTRY.register(name="yolo26")
class YOLO26Density(ReleasedDensity):
    """``yolo26``: a Laplace density of the scale beside a flow that is no part of what is reported."""

    def log_g(self, e: Tensor) -> Tensor:
        """Log-density (n,) of the flow at ``e`` (n, 2)."""
        return self.flow.log_prob(e)

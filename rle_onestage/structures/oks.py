"""Object keypoint similarity: between poses, and expected under a predicted density.

COCO's definition (cocodataset.org/#keypoints-eval): for a joint at distance ``d`` from its label, on a person of
area ``a`` and with ``k`` twice the joint's OKS sigma, ``exp(-d^2 / (2 a k^2))``, averaged over the labelled joints.
"""

import math

import torch
from torch import Tensor

# COCO adds the smallest double to the area; in float32 this keeps a zero area finite and changes nothing else.
_EPS = torch.finfo(torch.float32).tiny


def joint_oks(distance2: Tensor, area: Tensor, oks_sigmas: Tensor) -> Tensor:
    """Similarity of each joint.

    Args:
        distance2: (..., K) squared distances, in square pixels.
        area: (...) COCO areas, in square pixels.
        oks_sigmas: (K,) COCO's OKS sigmas.

    Returns:
        (..., K) in [0, 1].
    """
    variance = (2 * oks_sigmas) ** 2 * area[..., None]
    return torch.exp(-distance2 / (2 * variance).clamp(min=_EPS))


def pairwise_oks(pred: Tensor, gt: Tensor, labelled: Tensor, area: Tensor, oks_sigmas: Tensor) -> Tensor:
    """OKS of every prediction with every labelled person.

    Args:
        pred: (..., N, K, 2) predicted joints, in pixels.
        gt: (..., M, K, 2) labelled joints, in pixels.
        labelled: (..., M, K) bool, which joints have a label.
        area: (..., M) COCO areas, in square pixels.
        oks_sigmas: (K,) COCO's OKS sigmas.

    Returns:
        (..., N, M); 0 for people without a labelled joint.
    """
    # Coordinate by coordinate: a sum over an axis of two is several times slower.
    x, y = (a[..., :, None, :] - b[..., None, :, :] for a, b in zip(pred.unbind(-1), gt.unbind(-1)))
    distance2 = x.square() + y.square()  # (..., N, M, K)
    similarity = joint_oks(distance2, area[..., None, :], oks_sigmas)
    weight = labelled[..., None, :, :].to(similarity.dtype)
    return (similarity * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def expected_joint_oks(scale: Tensor, area: Tensor, oks_sigmas: Tensor, nodes: Tensor, weights: Tensor) -> Tensor:
    """Expected similarity of each joint when its error is ``scale * e`` with a density given by quadrature nodes.

    ``E = sum_m w_m exp(-(b_x^2 e_mx^2 + b_y^2 e_my^2) / (2 k^2))`` with ``b = scale / sqrt(area)``.

    Args:
        scale: (..., K, 2) the preset's spread, in pixels.
        area: (...) COCO areas, in square pixels.
        oks_sigmas: (K,) COCO's OKS sigmas.
        nodes: (Q, 2) or (K, Q, 2), nodes about the reported point, in units of the scale.
        weights: (Q,) or (K, Q), with sums of 1.

    Returns:
        (..., K) in [0, 1].
    """
    factor = scale.square() / (2 * (2 * oks_sigmas) ** 2)[:, None] / area.clamp(min=_EPS)[..., None, None]
    if nodes.dim() == 2:
        return torch.exp(-(factor @ nodes.square().T)) @ weights
    exponent = torch.einsum("...kc,kqc->...kq", factor, nodes.square())
    return (torch.exp(-exponent) * weights).sum(-1)


def expected_gaussian(b_over_k: Tensor) -> Tensor:
    """Expected similarity in one coordinate with a Gaussian error, in closed form: ``(1 + b^2 / k^2)^(-1/2)``.

    Args:
        b_over_k: (...) standard deviation over the root of the area, ``b``, over twice the OKS sigma, ``k``.

    Returns:
        (...) in [0, 1].
    """
    return (1 + b_over_k.square()).rsqrt()


def expected_laplace(b_over_k: Tensor) -> Tensor:
    """Expected similarity in one coordinate with a Laplace error, in closed form.

    ``(k / a) sqrt(pi / 2) erfcx(k / (sqrt(2) a))`` with the Laplace scale ``a = b / sqrt(2)``.

    Args:
        b_over_k: (...) as in :func:`expected_gaussian`, above 0.

    Returns:
        (...) in [0, 1].
    """
    inverse = math.sqrt(2) / b_over_k
    return inverse * math.sqrt(math.pi / 2) * torch.special.erfcx(inverse / math.sqrt(2))

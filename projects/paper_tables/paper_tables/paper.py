"""What the paper says (Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", ICCV 2021)."""

from typing import NamedTuple

# AP on COCO val2017, ResNet-50, 256 x 192, given boxes: tables 1 and 2.
AP = {
    "rle": 70.5, "rle_gaussian": 70.0, "laplace": 67.4, "flow": 62.7, "gaussian": 60.2, "l1": 58.1, "l2": 36.6,
}  # fmt: skip
# Correlation of confidence with OKS.
CORRELATION = {"rle": 0.553, "simplepose": 0.479}


class Claim(NamedTuple):
    """The cost of a part of the network as the paper states it."""

    gflops: float | None
    words: str


COST = {
    "backbone": Claim(None, ""),
    "heatmap head": Claim(None, "1.4 times the backbone"),
    "regression head": Claim(None, "1/20,000 of the backbone"),
    "backbone and heatmap head": Claim(9.7, "9.7"),
    "backbone and regression head": Claim(4.0, "4.0"),
}

"""Hidden told from visible: the probability that a labelled joint is visible."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .structures import Targets
from .targets import Matched

# Most labelled joints are visible: about this share of COCO's.
PRIOR = 0.88


def prior_logit() -> float:
    """Where the logits start."""
    return float(torch.logit(torch.tensor(PRIOR)))


class VisibilityBranch(nn.Module):
    """Logits of a person's joints from its embedding.

    It counts the labels that taught it. Weights that nobody taught (of a file without this part, or of joints that are
    new) say nothing: a model has an opinion only once each of its joints was taught.

    Args:
        embedding: C, width of the embedding.
        num_joints: K.
    """

    # Tensors whose first axis is that of the joints: rows of each.
    JOINT_ROWS = {"logit.weight": 1, "logit.bias": 1, "taught": 1}
    taught: Tensor

    def __init__(self, *, embedding: int, num_joints: int):
        super().__init__()
        self.logit = nn.Linear(embedding, num_joints)
        nn.init.normal_(self.logit.weight, std=0.01)
        nn.init.constant_(self.logit.bias, prior_logit())
        self.register_buffer("taught", torch.zeros(num_joints))  # labels so far, of each joint
        self.has_opinion = False

    def forward(self, embedding: Tensor) -> Tensor | None:
        """Logits (P, K) of embeddings (P, C); None at inference without an opinion."""
        return self.logit(embedding) if self.training or self.has_opinion else None

    @torch.no_grad()
    def count(self, targets: Targets) -> None:
        """Add the labels of a batch."""
        self.taught += (targets.labelled & targets.told[..., None]).sum((0, 1))

    def settle(self) -> None:
        """See whether there is an opinion, once for many images."""
        self.has_opinion = bool((self.taught > 0).all())


def visibility_loss(logits: Tensor, people: Matched, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy over the joints that are labelled in sets that tell hidden from visible.

    Args:
        logits: (n, K) of candidates.
        people: those that they are matched to.
        weight: (n,) how much each candidate counts.

    Returns:
        () the weighted sum, and () the sum of the weights.
    """
    counts = (people.labelled & people.told[:, None]).float() * weight[:, None]
    loss = F.binary_cross_entropy_with_logits(logits, people.visible.float(), reduction="none")
    return (loss * counts).sum(), counts.sum()

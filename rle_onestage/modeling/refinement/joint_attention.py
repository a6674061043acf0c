"""Attention among the joints of one person: a hidden wrist is where its elbow and its shoulder say."""

from torch import Tensor, nn
from torch.nn import functional as F


class JointAttention(nn.Module):
    """One layer of self-attention (Vaswani et al., 2017) over the joints of each person, then a small network, both
    added to what comes in. It starts as the identity.

    Args:
        channels: C, of a joint's features.
        heads: of the attention; a divisor of C.
    """

    def __init__(self, *, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.place = nn.Linear(2, channels)
        self.norm, self.norm_hidden = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)
        self.hidden, self.output = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        for layer in (self.merge, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, joints: Tensor, points: Tensor, boxes: Tensor) -> Tensor:
        """The joints' features after each has looked at the person's others.

        Args:
            joints: (P, K, C) features.
            points: (P, K, 2) where the joints are, in pixels.
            boxes: (P, 4) of the people, in pixels.

        Returns:
            (P, K, C).
        """
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        size = (high - low).clamp(min=1).prod(-1, keepdim=True).sqrt()
        # A joint that is far off shall not drown the others.
        place = ((points - (low + high) / 2) / size).clamp(-2, 2)
        people, count, channels = joints.shape
        mixed = self.query_key_value(self.norm(joints + self.place(place)))
        mixed = mixed.view(people, count, 3, self.heads, channels // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)  # (P, heads, K, C / heads) each
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(people, count, channels)
        joints = joints + self.merge(seen)
        return joints + self.output(F.silu(self.hidden(self.norm_hidden(joints))))

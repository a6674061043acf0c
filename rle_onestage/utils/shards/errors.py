"""What is wrong with a shard."""


class ShardError(ValueError):
    """A shard, or a member of it, cannot be read.

    Args:
        shard: its path.
        reason: a clause that says what is wrong, and what to do where that is not plain.

    Attributes:
        shard: its path.
        reason: the clause.
    """

    def __init__(self, shard: str, reason: str) -> None:
        super().__init__(f"shard {shard} {reason}")
        self.shard, self.reason = shard, reason

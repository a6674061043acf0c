"""Cards of the weights that come with the package: their licence, and the data that they were trained on."""

from typing import NamedTuple

from .packaged_files import CHECKPOINTS, SHIPPED


class Card(NamedTuple):
    """What is said of weights.

    Attributes:
        licence: its text, that before the table of images; the first sentence says whether there are limits.
        training_data: the sets that they were trained on, in words.
    """

    licence: str
    training_data: list[str]

    @property
    def in_short(self) -> str:
        """The first sentence of the licence."""
        return self.licence.partition(". ")[0].rstrip(".")


def card_of(address: str) -> Card | None:
    """The card that lies beside weights of the package, None for any others.

    Args:
        address: of weights, such as ``rle-onestage://people.pth``.
    """
    card = CHECKPOINTS / f"{address.removeprefix(SHIPPED).removesuffix('.pth')}.md"
    if not (address.startswith(SHIPPED) and card.is_file()):
        return None
    _, _, section = card.read_text(encoding="utf-8").partition("\n## Licence\n")
    section = section.partition("\n## ")[0]
    before = section.partition("\n|")[0]  # behind the table stands what else is of interest
    text = f"{' '.join(before.split()).rstrip('.:')}."
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    return Card(text.replace("**", "").replace("`", ""), [row.replace("`", "") for row in rows[1:]])

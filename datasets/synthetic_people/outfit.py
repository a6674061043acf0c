"""Skin, hair, clothes: colours and patterns of one person as rows of a material table (BGR in [0, 1])."""

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from synthetic_people.body import BodyShape


# Columns of a material: colour, second colour, pattern frequencies along u and v (1/m), weights of sin(u), sin(v),
# sin(u) sin(v), threshold of the pattern, gloss, wrinkles, and the face it belongs to (-1: none).
MATERIAL_COLUMNS = 15
NO_PATTERN = 9.0

_SKIN = np.array(
    [
        [0.70, 0.78, 0.95],
        [0.62, 0.72, 0.90],
        [0.52, 0.64, 0.84],
        [0.42, 0.55, 0.76],
        [0.32, 0.44, 0.64],
        [0.22, 0.31, 0.47],
        [0.14, 0.20, 0.32],
    ]
)
_HAIR = np.array(
    [
        [0.06, 0.06, 0.07],
        [0.08, 0.11, 0.17],
        [0.11, 0.20, 0.33],
        [0.24, 0.42, 0.60],
        [0.42, 0.62, 0.80],
        [0.10, 0.24, 0.52],
        [0.62, 0.64, 0.66],
    ]
)
_HAIR_WEIGHT = np.array([0.30, 0.26, 0.18, 0.09, 0.06, 0.05, 0.06])


def solid(colour: np.ndarray, *, gloss: float = 0.05, wrinkle: float = 0.0, face: int = -1) -> list[float]:
    """A material of one colour."""
    return [*colour, *colour, 0, 0, 0, 0, 0, NO_PATTERN, gloss, wrinkle, face]


def random_colour(rng: np.random.Generator, *, dark: float = 0.2, bright: float = 0.95) -> np.ndarray:
    """BGR: greys and muted tones are as frequent as bright ones."""
    kind = rng.random()
    value = rng.uniform(dark, bright)
    saturation = (
        rng.uniform(0, 0.12) if kind < 0.3 else rng.uniform(0.15, 0.5) if kind < 0.65 else rng.uniform(0.5, 0.95)
    )
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value)[::-1])


def muted_colour(rng: np.random.Generator) -> np.ndarray:
    """BGR of walls and floors: mostly pale or grey, a strong colour now and then."""
    saturation = rng.uniform(0.0, 0.28) if rng.random() < 0.85 else rng.uniform(0.28, 0.75)
    hue = rng.normal(0.1, 0.06) % 1 if rng.random() < 0.5 else rng.random()
    return np.array(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.42, 0.98))[::-1])


def skin_colour(rng: np.random.Generator) -> np.ndarray:
    """BGR somewhere on a path from pale to dark."""
    at = rng.uniform(0, len(_SKIN) - 1.001)
    low = int(at)
    tone = _SKIN[low] * (1 - at + low) + _SKIN[low + 1] * (at - low)
    return np.clip(tone * (1 + rng.normal(0, 0.03, 3)), 0.05, 1)


def cloth(rng: np.random.Generator, *, patterned: float = 0.5, dark: float = 0.15, bright: float = 0.95) -> list[float]:
    """A cloth: plain, striped, checked, dotted or blotched."""
    first, second = random_colour(rng, dark=dark, bright=bright), random_colour(rng, dark=0.1, bright=1.0)
    row = [*first, *second, 0, 0, 0, 0, 0, NO_PATTERN, rng.uniform(0, 0.06), rng.uniform(0.03, 0.14), -1]
    if rng.random() < patterned:
        width = 2 * np.pi / rng.uniform(0.035, 0.14)
        kind = rng.choice(
            ["rings", "lengthwise", "checks", "plaid", "dots", "blotches"], p=[0.34, 0.18, 0.12, 0.14, 0.1, 0.12]
        )
        fu, fv, cu, cv, cuv, threshold = {
            "rings": (0, width, 0, 1, 0, rng.uniform(-0.2, 0.7)),
            "lengthwise": (width, 0, 1, 0, 0, rng.uniform(0, 0.7)),
            "checks": (width, width, 0, 0, 1, 0.0),
            "plaid": (width, width, 0.5, 0.5, 0, rng.uniform(-0.1, 0.45)),
            "dots": (width * 1.3, width * 1.3, 0.5, 0.5, 0, 0.62),
            "blotches": (width * 0.55, width * 0.8, 0.5, 0.4, 0.7, 0.25),
        }[str(kind)]
        row[6:12] = [fu, fv, cu, cv, cuv, threshold]
    return row


def _sleeve(rng: np.random.Generator) -> float:
    """Short, long, none, or rolled up."""
    kind = rng.random()
    if kind < 0.47:
        return float(rng.uniform(0.4, 0.85))
    if kind < 0.87:
        return 2.0
    return 0.05 if kind < 0.95 else float(rng.uniform(1.2, 1.7))


@dataclass(frozen=True)
class Outfit:
    """What one person wears. ``sleeve`` and ``leg`` say how far cloth covers the arm and the leg: 0 none, 1 to the
    elbow or knee, 2 all."""

    skin: np.ndarray
    hair: np.ndarray
    top: list
    bottom: list
    shoes: list
    extra: list
    sleeve: float
    leg: float
    skirt: float  # length as a share of the thigh; 0 for none
    untucked: bool
    hem: float
    loose: float
    hair_style: str
    beard: float
    glasses: bool
    neckline: float
    bag: bool
    jacket: bool

    @classmethod
    def sample(cls, rng: np.random.Generator, shape: "BodyShape") -> "Outfit":
        """An outfit that suits the body at random."""
        woman = shape.woman > 0.5
        hair = _HAIR[rng.choice(len(_HAIR), p=_HAIR_WEIGHT)] * rng.uniform(0.8, 1.2)
        styles = (
            ["long", "ponytail", "bob", "bun", "short", "afro", "cap"]
            if woman
            else ["short", "crop", "bald", "afro", "cap", "long", "short"]
        )
        weight = [0.3, 0.2, 0.18, 0.1, 0.08, 0.06, 0.08] if woman else [0.42, 0.2, 0.1, 0.06, 0.12, 0.04, 0.06]
        top = cloth(rng, patterned=0.45)
        dress = woman and rng.random() < 0.14
        skirt = rng.uniform(0.45, 0.95) if dress or (woman and rng.random() < 0.2) else 0.0
        bottom = top if dress else cloth(rng, patterned=0.12, dark=0.08, bright=0.7)
        kind = rng.random()
        leg = 2.0 if kind < 0.62 else rng.uniform(0.45, 0.95) if kind < 0.93 else rng.uniform(1.2, 1.7)
        if skirt:
            leg = 0.25 if rng.random() < 0.75 else 2.0
        return cls(
            skin=skin_colour(rng), hair=np.clip(hair, 0, 1), top=top, bottom=bottom,
            shoes=solid(random_colour(rng, dark=0.05), gloss=0.3), extra=cloth(rng, patterned=0.2),
            sleeve=_sleeve(rng),
            leg=float(leg), skirt=float(skirt), untucked=bool(rng.random() < 0.6),
            hem=float(rng.uniform(-0.03, 0.015)), loose=float(rng.uniform(0.0, 1.0)),
            hair_style=str(rng.choice(styles, p=weight)),
            beard=float(rng.random() < 0.3) if not woman and not shape.child else 0.0,
            glasses=bool(rng.random() < 0.14), neckline=float(rng.uniform(-0.02, 0.05)), bag=bool(rng.random() < 0.1),
            jacket=bool(rng.random() < 0.18),
        )  # fmt: skip

    def face_row(self, rng: np.random.Generator) -> list[float]:
        """Row of the face table: skin, hair, lips, iris (BGR each), beard, glasses, brow lift."""
        lips = np.clip(self.skin * (0.72, 0.66, 0.95), 0, 1)
        iris = np.array([[0.10, 0.16, 0.22], [0.45, 0.35, 0.22], [0.2, 0.35, 0.25]])[
            rng.choice(3, p=[0.65, 0.22, 0.13])
        ]
        return [*self.skin, *(self.hair * 0.8), *lips, *iris, self.beard, float(self.glasses), rng.uniform(-0.03, 0.04)]


class Materials:
    """The growing material and face tables of one image."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.faces: list[list[float]] = []

    def add(self, row: list[float]) -> int:
        """Number of the new material."""
        self.rows.append(row)
        return len(self.rows) - 1

    def add_face(self, row: list[float]) -> int:
        """Number of the new face."""
        self.faces.append(row)
        return len(self.faces) - 1

    def table(self) -> np.ndarray:
        """(n, MATERIAL_COLUMNS) float32."""
        return np.array(self.rows, np.float32).reshape(-1, MATERIAL_COLUMNS)

"""What an exported file says about itself, for readers that have nothing but a runtime."""

import base64
import io
import json
import lzma
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

import rle_onestage
from rle_onestage.errors import MediaError
from rle_onestage.predictor import Predictor
from rle_onestage.structures import ErrorDensity
from rle_onestage.utils.cards import card_of

from .graph import PeopleGraph

# Every file has these keys; each value is JSON.
_TABLES = ("axis", "mean", "std", "group", "intervals", "regions")
LEVELS = (0.5, 0.8, 0.9, 0.95)
_UNKNOWN = "not stated: that of the weights is up to those who trained them; the code is Apache-2.0"


def metadata_of(
    predictor: Predictor, graph: PeopleGraph, weights: str, trained_on: list[str], licence: str | None = None
) -> dict[str, Any]:
    """What is written into a file.

    Args:
        predictor: whose model it is.
        graph: that is exported.
        weights: their path or address.
        trained_on: names of the training sets.
        licence: of the weights; None: that of the package's card for its own weights and for what is trained from
            them, else not stated.
    """
    skeleton, category, decoder = predictor.skeleton, predictor.category, graph.model.decoder
    density = predictor.error_density
    # Per joint, in standard deviations: with these probabilities they hold a coordinate, and the joint.
    half_widths, radii = (
        [[round(value, 4) for value in row] for row in torch.stack([of(level) for level in LEVELS], 1).tolist()]
        for of in (density.half_width, density.ellipse_radius)
    )
    origin = getattr(predictor.model, "origin", None)
    known = origin or []
    return {
        "format": 1,
        "package": "rle-onestage",
        "version": rle_onestage.__version__,
        "weights": weights.rpartition("/")[2],
        "origin": origin,
        "licence": licence or _licence(known, weights),
        "training_data": _trained_on(known, weights, trained_on),
        "category": {"id": category.id, "name": category.name},
        "skeleton": skeleton.name,
        "joint_names": list(skeleton.names),
        "limbs": [list(limb) for limb in skeleton.limbs],
        "flip_pairs": [list(pair) for pair in skeleton.flip_pairs],
        "oks_sigmas": [round(value, 6) for value in decoder.oks_sigmas.tolist()],
        "intervals": {"levels": list(LEVELS), "half_widths": half_widths},
        "ellipses": {"levels": list(LEVELS), "radii": radii},
        "image": {"type": "uint8", "layout": "BHWC" if graph.batched else "HWC", "channels": graph.channels},
        "size": {**graph.size._asdict(), "colour": graph.colour},
        "outputs": graph.outputs,
        "max_people": graph.rows,
        "score_threshold": decoder.score_thresh,
        "density": _packed(density),
    }


_FIRST = (
    "package",
    "version",
    "format",
    "weights",
    "weights_in",
    "origin",
    "licence",
    "training_data",
    "image",
    "size",
    "outputs",
)


def order_of(key: str) -> tuple[int, str]:
    """Where a key stands when they are shown: what a reader asks for first comes first."""
    return (_FIRST.index(key) if key in _FIRST else len(_FIRST), key)


def density_from(metadata: Mapping[str, Any]) -> ErrorDensity:
    """The density of the joints' errors that a file has."""
    with np.load(io.BytesIO(lzma.decompress(base64.b64decode(metadata["density"])))) as arrays:
        parts = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return ErrorDensity(**parts)


def _packed(density: ErrorDensity) -> str:
    """Its tables as text: compressed, in base 64."""
    parts = {"log_q": density.table} | {name: getattr(density, name) for name in _TABLES}
    stream = io.BytesIO()
    np.savez(stream, **{name: part.numpy() for name, part in parts.items() if part is not None})
    return base64.b64encode(lzma.compress(stream.getvalue())).decode()


def to_strings(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Values as JSON, as formats keep them."""
    return {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}


def from_strings(strings: Mapping[str, str], path: str) -> dict[str, Any]:
    """The inverse of :func:`to_strings`.

    Args:
        strings: all that a file has beside its graph; entries of others are left out.
        path: of the file, for messages.

    Raises:
        MediaError: they are not those of a file of this package.
    """
    try:
        found = {key: json.loads(value) for key, value in dict(strings).items() if key.isidentifier()}
        if found["package"] == "rle-onestage":
            return found
    except (KeyError, ValueError, TypeError):
        pass
    raise MediaError(f"{path} was not written by rle-onestage export, or has lost what it says about itself")


def _licence(origin: Iterable[str], weights: str) -> str:
    """That of weights of the package, or of those that others were trained from."""
    cards = [(name, card.licence) for name in origin if (card := card_of(name))]
    return " ".join(text if weights == name else f"From {name}: {text}" for name, text in cards) or _UNKNOWN


def _trained_on(origin: Iterable[str], weights: str, names: list[str]) -> list[str]:
    """Training data: those of a card for weights of the package, else of the config, and of what it started from."""
    if card := card_of(weights):
        return card.training_data
    return [*names, *(f"{name}: {data}" for name in origin if (c := card_of(name)) for data in c.training_data)]

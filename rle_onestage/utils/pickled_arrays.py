"""numpy's arrays and numbers in pickles, made of plain numbers alone, without numpy's own unpickling.

numpy believes what a file says of types and sizes: it makes arrays that no file could fill, and takes bytes for Python
objects. Here the bytes of an array are in the file, its type is a plain number's, and both fit its shape.
"""

import math
import pickle
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

_TYPES = {
    "bool", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16",
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip
MODULES = ("numpy.core", "numpy._core")  # numpy 2 renamed one to the other


class NumberType:
    """Stands for ``numpy.dtype`` while a pickle is read.

    Args:
        name: of the type, as the pickle has it.

    Attributes:
        plain: the type of the numbers.

    Raises:
        pickle.UnpicklingError: it is no type of numbers.
    """

    def __init__(self, name: str = "", *_: Any) -> None:
        if not isinstance(name, str) or name.lstrip("<=|>") not in _TYPES:
            raise pickle.UnpicklingError("an array of something other than numbers is not allowed")
        self.plain = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        """Of what numpy saves of a type, the order of the bytes counts here."""
        if state[1] in ("<", ">"):
            self.plain = self.plain.newbyteorder(state[1])


class NumberArray:
    """Stands for ``numpy.ndarray`` while a pickle is read, and until :meth:`array` is asked for."""

    def __init__(self, *_: Any) -> None:
        self._value = np.zeros(0, np.float32)

    def __setstate__(self, state: tuple) -> None:
        """As numpy saves arrays: (version, shape, type, whether columns come first, bytes)."""
        shape, kind, by_columns, raw = state[-4:]
        self._value = _filled(raw, kind, shape, "F" if by_columns else "C")

    def array(self) -> np.ndarray:
        """The numbers, in this machine's order of bytes, in memory of their own."""
        return self._value.astype(self._value.dtype.newbyteorder("="))


def _filled(raw: Any, kind: Any, shape: tuple[Any, ...], order: Literal["C", "F"]) -> np.ndarray:
    """The array of some bytes, once they fit its type and shape."""
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(kind, NumberType) or not isinstance(raw, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array of something other than numbers is not allowed")
    if any(type(side) is not int or side < 0 for side in shape) or math.prod(shape) * kind.plain.itemsize != len(raw):
        raise pickle.UnpicklingError("an array has another size than its bytes")
    return np.frombuffer(raw, kind.plain).reshape(shape, order=order)


def reconstruct(kind: Any, shape: tuple = (0,), *_: Any) -> NumberArray:
    """Stands for ``numpy.core.multiarray._reconstruct``: what is in the array, and its shape, come by its state.

    Args:
        kind: must be :class:`NumberArray`.
        shape: must be numpy's place-holder.

    Raises:
        pickle.UnpicklingError: it is another array.
    """
    if kind is not NumberArray or shape != (0,):
        raise pickle.UnpicklingError("an array that its file has no numbers for is not allowed")
    return NumberArray()


def from_buffer(raw: Any, kind: NumberType, shape: tuple, order: str = "C", *_: Any) -> NumberArray:
    """Stands for ``numpy.core.numeric._frombuffer``, of protocol 5.

    Args:
        raw: the bytes.
        kind: the type of the numbers.
        shape: of the array.
        order: F where columns come first, else C.

    Raises:
        pickle.UnpicklingError: these do not fit each other.
    """
    result = NumberArray()
    result._value = _filled(raw, kind, shape if isinstance(shape, tuple) else (shape,), "F" if order == "F" else "C")
    return result


def scalar(kind: NumberType, raw: Any = b"") -> np.generic:
    """Stands for ``numpy.core.multiarray.scalar``: one number.

    Args:
        kind: its type.
        raw: its bytes.

    Raises:
        pickle.UnpicklingError: these do not fit each other.
    """
    return _filled(raw, kind, (1,), "C")[0]


def no_bytes() -> bytes:
    """Stands for ``bytes``, by which protocol 2 says that there are none."""
    return b""


# By the name that stands in files.
STAND_INS: dict[str, Callable[..., Any]] = {
    "__builtin__.bytes": no_bytes,
    "builtins.bytes": no_bytes,
    "numpy.ndarray": NumberArray,
    "numpy.dtype": NumberType,
    **{f"{module}.multiarray._reconstruct": reconstruct for module in MODULES},
    **{f"{module}.multiarray.scalar": scalar for module in MODULES},
    **{f"{module}.numeric._frombuffer": from_buffer for module in MODULES},
}

"""What a command line names is looked at before anything is loaded that takes seconds.

Each raises the error whose sentence the work itself would end with, later.
"""

import contextlib
import glob
import os
from collections.abc import Iterable, Sequence

from rle_onestage.errors import CheckpointError, DataError, MediaError
from rle_onestage.utils.file_kinds import refuse_foreign_kind
from rle_onestage.utils.label_address import ENDINGS, file_of_labels
from rle_onestage.utils.near import WEIGHT_FILES, near_file, remedy_for, what_is_wrong
from rle_onestage.utils.output_files import check_target, kind_of
from rle_onestage.utils.packaged_files import check_config_path, config_path


def check_config(name: str | None, opts: Sequence[str] = ()) -> None:
    """Check that a config and the weights of the command line are there.

    Args:
        name: of ``--config-file``; None or "" where it was not given.
        opts: ``[KEY, VALUE, ...]``, of which ``MODEL.WEIGHTS`` is looked at.

    Raises:
        ConfigError: there is no such config.
        CheckpointError: there are no such weights.
    """
    if name:
        check_config_path(config_path(name), name, check="check --config-file")
    weights = dict(zip(opts[0::2], opts[1::2])).get("MODEL.WEIGHTS")
    if weights:
        check_weights(weights, "MODEL.WEIGHTS")


def check_words(words: Sequence[str]) -> None:
    """:func:`check_config` of a command line that is not parsed yet, because its parser takes seconds to import."""
    if {"-h", "--help"} & set(words):
        return
    pairs = list(zip(words, [*words[1:], ""]))
    named = [word.partition("=")[2] for word in words if word.startswith("--config-file=")]
    named += [value for flag, value in pairs if flag == "--config-file"]
    # A training that goes on needs the weights no more that it began with.
    goes_on = any(len(word) > 2 and "--resume".startswith(word) for word in words)
    given = [pair for pair in pairs if pair[0] == "MODEL.WEIGHTS" and not pair[1].startswith("-")]
    weights = [] if goes_on else [part for pair in given for part in pair]
    check_config(named[-1] if named else None, weights)


def check_weights(address: str, given_by: str) -> None:
    """Raises CheckpointError where a path of weights is no file, or one of another kind, such as an image.

    Addresses of other machines are not looked at.

    Args:
        address: a path, an address, or a path with Detectron2's ``?matching_heuristics=True``.
        given_by: flag or key, for the message.
    """
    if "://" in address or "?" in address:
        return
    if wrong := what_is_wrong(address):
        remedy = remedy_for(address, f"check {given_by}", WEIGHT_FILES)
        raise CheckpointError(f"checkpoint {address} {wrong}; {remedy}")
    if not address.endswith(".pkl"):  # old pickles are text
        with contextlib.suppress(OSError):
            refuse_foreign_kind(address)


def check_file(path: str | None, flag: str) -> None:
    """Raises DataError unless a file of data is there: JSON, or that of an address; None is not looked at."""
    path = None if path is None else file_of_labels(path)
    if path is not None and kind_of(path) in ("", "a folder") and (wrong := what_is_wrong(path)):
        raise DataError(f"file {path} {wrong}; {remedy_for(path, f'check {flag}', ('.json', *ENDINGS))}")


def check_results(path: str | None, flag: str) -> None:
    """:func:`check_file` for results, which may also be a folder of Parquet files, as predict writes them."""
    there = path is not None and os.path.isdir(path) and any(name.endswith(".parquet") for name in os.listdir(path))
    if not there:
        check_file(path, flag)


def check_images(inputs: Iterable[str], flag: str = "--input") -> None:
    """Raises MediaError for a path of a flag that is neither there nor a pattern that may match."""
    for given in inputs:
        path = os.path.expanduser(given)
        if not (os.path.exists(path) or glob.has_magic(path)):
            near = near_file(path)
            raise MediaError(
                f"input {given or repr(given)} does not exist; {f'did you mean {near}?' if near else f'check {flag}'}"
            )


def check_output(path: str | None, flag: str, *, through: bool = True) -> None:
    """Check that a file can be written; its folder may be missing and be made.

    Args:
        path: of the file; None where it was not given.
        flag: that it came by.
        through: whether devices and pipes can be written.

    Raises:
        MediaError: it is a folder, or no name of a file, or its folder cannot be made.
    """
    if path is not None:
        check_target(path, flag, through=through)
        if not kind_of(path):
            check_output_folder(os.path.dirname(os.path.abspath(path)), flag)


def check_not_input(path: str | None, flag: str, inputs: Iterable[str | None]) -> None:
    """Raises MediaError where what is written would replace what is read.

    Args:
        path: of the file to write; None where it was not given.
        flag: that it came by.
        inputs: paths or addresses of labels, or None.
    """
    read = {os.path.realpath(file_of_labels(each)) for each in inputs if each is not None}
    if path is not None and not kind_of(path) and os.path.realpath(path) in read:
        raise MediaError(f"{path} is an input and would be overwritten; give another file with {flag}")


def check_given(path: str | None, flag: str) -> None:
    """Raises MediaError for an empty name, as a variable of a shell that is not set leaves it."""
    if path == "":
        raise MediaError(f"the name after {flag} is empty; give one, or leave {flag} out")


def check_output_folder(path: str | None, flag: str) -> None:
    """Check that files can be written into a folder, or that it can be made. Nothing is made yet.

    Args:
        path: of the folder; None where it was not given.
        flag: that it came by.

    Raises:
        MediaError: its name is empty; or it is a file, or lies below one, or may not be written.
    """
    check_given(path, flag)
    if path is None:
        return
    there = os.path.abspath(path)
    while not os.path.lexists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        kind = "a file" if os.path.exists(there) else "a link to something that does not exist"
        raise MediaError(f"{path} cannot be written, as {there} is {kind}; give another place with {flag}")
    if not os.access(there, os.W_OK):
        raise MediaError(f"folder {there} cannot be written; give another place with {flag}")

"""What is said of metrics on data sets that have people without labels."""

import logging

from ..data.lookup import set_options

logger = logging.getLogger(__name__)


def tell_of_partial(dataset_name: str) -> None:
    """Say that AP counts people without labels as wrong, where the set's options say that there are some.

    Args:
        dataset_name: of a registered data set.
    """
    if set_options(dataset_name).partial:
        logger.info(
            "Not everybody is labelled in %s (partial: True): AP counts people who are found and have no label as "
            "wrong. The best match of each labelled person does not.", dataset_name,
        )  # fmt: skip

"""What goes wrong with data, and what was done with them that their owner should know."""


class DataError(Exception):
    """A data set that cannot be found, fetched or read, or is not what its publisher describes."""


class DataWarning(UserWarning):
    """What was done with data where they could be meant otherwise: ratings ignored, labels of 0 left out, …"""

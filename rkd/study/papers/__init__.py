"""What knows the two papers: their names, studies, tables and drawings."""

from collections.abc import Iterable

from ...run import Run, fingerprint_of
from ...tuned import tuned
from ..scales import Scale

RIVALS = ("rrd", "rrd-top", "rce-kd", "dcd", "ir-rrd", "freqd")  # methods of neither paper


def varied(scale: Scale, dataset: str, method: str, **of) -> list[Run]:
    """A method as tuned but for what ``of`` says, fields of Run: with few seeds, or with all where that is as tuned, so
    that what stands in a study twice has one result."""
    tuned, found = (scale.runs(dataset, [method], **fields) for fields in ({}, of))
    return tuned if found == tuned else scale.runs(dataset, [method], few=True, **of)


def second_choices(scale: Scale, dataset: str, methods: Iterable[str]) -> dict[str, list[Run]]:
    """"METHOD, tail" → runs with few seeds, of the settings that were chosen for the tail (tuned.tuned); of methods for
    which these are not the ones chosen for accuracy."""
    of = fingerprint_of(dataset)
    return {f"{method}, tail": scale.runs(dataset, [method], few=True, choice="tail") for method in methods
            if tuned(of, "mf", method, "tail") != tuned(of, "mf", method)}

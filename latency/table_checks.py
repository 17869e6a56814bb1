"""Is a table that came by hand what it says it is?"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from latency.fidelity import Fidelity, fidelity
from latency.keys import network_key
from latency.plan import MeasureSettings, reference_network
from latency.table import PLAUSIBLE_SCALE, Entry, LatencyTable, TableError

PLAUSIBLE_FACTOR = 10.0
"""No visit may be further from the usual one."""

PLAUSIBLE_DEVIATION = 0.3
"""How far what a network takes, over what its blocks say, may be from the same of the others."""


def checked_settings(table: LatencyTable) -> MeasureSettings:
    """How a table was measured, by its header.

    Raises:
        TableError: the header lacks something, or holds what cannot be.
    """
    header = table.header
    fields: dict[str, Any] = {name: header.get(name) for name in MeasureSettings().table_fields}
    try:
        if not isinstance(header.get("device"), dict) or not header["device"]:
            raise ValueError(f"device must be an object, but is {header.get('device')!r:.80}")
        for name in ("runtime", "runtime_version", "provider"):
            if not isinstance(header.get(name), str) or not header[name]:
                raise ValueError(f"{name} must be a name, but is {header.get(name)!r:.80}")
        if not isinstance(fields["affinity"], list | None):
            raise ValueError(f"affinity must be a list of cores, but is {fields['affinity']!r:.80}")
        settings = MeasureSettings(**fields)
    except ValueError as error:
        hint = "take the file as profile.py wrote it"
        raise TableError(f"{table.source}, line 1: {error}; {hint}") from None
    if header.get("reference") != network_key(reference_network()):
        raise TableError(
            f"{table.source} was measured beside another reference network, "
            f"{header.get('reference')!r:.80}; measure with a plan and a profile.py of this version"
        )
    return settings


def check_visits(source: str, visits: Sequence[Mapping[str, Any]]) -> None:
    """Compare the visits with each other, ``visits`` being the lines of a table from the second on.

    Raises:
        TableError: a figure contradicts another or is far from what is usual.
    """
    by_key: dict[str, list[float]] = {}
    for visit in visits:
        by_key.setdefault(visit["key"], []).append(visit["latency_ms"])
    usual_ms = {key: median(latencies) for key, latencies in by_key.items()}
    usual_reference_ms = median(visit["reference_ms"] for visit in visits)
    for number, visit in enumerate(visits, start=2):
        line = f"{source}, line {number}"
        # The one is the fastest third of the same runs; the last digits are the writer's.
        if visit["latency_ms"] > visit["median_ms"] * (1 + 1e-6):
            raise TableError(
                f"{line}: latency_ms is {visit['latency_ms']:g}, above its median_ms, "
                f"{visit['median_ms']:g}; delete the line to measure it again"
            )
        for name, usual in (
            ("latency_ms", usual_ms[visit["key"]]),
            ("reference_ms", usual_reference_ms),
        ):
            if not 1 / PLAUSIBLE_FACTOR <= visit[name] / usual <= PLAUSIBLE_FACTOR:
                raise TableError(
                    f"{line}: {name} is {visit[name]:g}, and {usual:g} in the usual visit; delete "
                    "the line to measure it again"
                )


def check_networks(table: LatencyTable) -> Fidelity:
    """Compare whole networks, measured end to end, with what their blocks say of them.

    Raises:
        TableError: they contradict each other, or the table holds no network with all its blocks.
    """
    networks = list(complete_networks(table))
    if not networks:
        raise TableError(
            f"{table.source} holds no whole network with all of its blocks, so that nothing shows "
            "whether its figures add up; run profile.py again, it goes on where it stopped"
        )
    predicted = [table.predicted_ms(network) for network in networks]
    measured = [network.latency_ms for network in networks]
    factors = [a / b for a, b in zip(measured, predicted, strict=True)]
    usual = median(factors)
    low, high = PLAUSIBLE_SCALE
    for network, factor, prediction in zip(networks, factors, predicted, strict=True):
        if not low <= factor <= high or abs(factor / usual - 1) > PLAUSIBLE_DEVIATION:
            raise TableError(
                f"{table.source} contradicts itself: {network.key!r:.80} took "
                f"{network.latency_ms:.4g} ms, its blocks say {prediction:.4g} ms; measure anew, "
                "and leave the device alone meanwhile"
            )
    return fidelity(predicted, measured)


def complete_networks(table: LatencyTable) -> Iterator[Entry]:
    """The whole networks whose blocks the table holds as well."""
    for entry in table.entries:
        if entry.parts and all(key in table for key in entry.parts + entry.boundaries):
            yield entry

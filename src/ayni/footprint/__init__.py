"""Energy, carbon and cost of every step: measured, attributed exactly, and signed.

    counters      what is read: wall meters, RAPL, GPUs, models; the tiers of trust
    windows       who drew it: CPU time, reservations, one meter a node, the file of windows
    grid          what an hour of electricity weighs and costs; when to run
    impacts       grams, litres, machines' making, grams per functional unit, with intervals
    receipts      signed records, and the checks that anybody can repeat
    sums          what many receipts add up to
    measuring     a block, a function or a command without a job
    callbacks     for the trainers of Transformers, Lightning and Keras
    exports       receipts as SCI, BoAmps, CodeCarbon's columns, Prometheus text, model card
    factors       the shipped figures with their sources and licences

Nothing is imported here: metering must cost a job next to nothing, also at start. `measure` comes when it is
first used.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["measure"]

if TYPE_CHECKING:
    from ayni.footprint.measuring.measurement import measure


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'ayni.footprint' has no attribute {name!r}")
    from ayni.footprint.measuring.measurement import measure

    return measure


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted(__all__)

"""Energy, carbon and cost of every step: measured, attributed exactly, and signed.

    meters        the port `EnergyCounter`, the tiers of trust, and the value `EnergyEstimate`
    cascade       which counter this machine offers, best first
    wall_meter, rapl_counter, nvml_counter, amd_counter, modelled_counter      the counters
    combined_counters                 a sum, a rest, a component extended to the wall
    power_model   watts from CPU time, for machines without a sensor and for plans
    design_power, cpu_frequency       what a model may know of the processor
    node_model, calibrate             a model of this very node, and how it is made
    node_survey   every meter of this node: in use, refused and how to allow it, or not here
    cpu_time      CPU seconds of the node and of the job, dead children included
    attribution   one window of energy -> jobs, others, idle; exact to the microjoule
    gpu_sharing   who uses a GPU that several jobs share
    reservations, reservation_folder   what the meters of one node tell each other, by files and locks
    reservation_shares                 idle power and GPUs, divided among what is reserved
    node_meter    the sampling thread that writes windows while a job runs
    windows       the file of windows, and what they add up to
    carbon        annual grams of CO2e per kWh, by zone, with interval; `basis` says what they count
    intensity_series, climatology      hour by hour, and what an hour usually weighs
    importers     hourly files: electricity_maps_files, entsoe_files (generation_mix), neso_files, tables
    electricity_maps_api               the same over the network, only with your token
    intensity_chain                    what an hour weighs, from metered hour to world mean
    emissions     windows x PUE x intensity of their hours; `quantities` carries the intervals
    embodied, water, tariffs, sci      machines' making, litres, hourly prices, grams per functional unit
    scheduling    when to run, and what waiting was really worth
    comparison    less, more, or nobody can tell
    receipts      signed records of what a step drew
    amounts, entries, totals      what many receipts add up to, with what is unknown
    kept_footprints                    the receipts of a run, a measurement or an import
    exports       receipts as SCI, BoAmps, CodeCarbon's columns, Prometheus text, model card
    third_party   figures of other tools, told apart; codecarbon_files reads CodeCarbon's
    verification  the checks that anybody can repeat from the files alone
    measurement   `with measure("name"):`, and a decorator; `open_measurements` keeps what is open
    run_command   any command, metered with all its processes; `command_signals`, `job_cgroup`
    recording     one such measurement from its start to its receipts, in its `measurement_folder`
    measured_footprint    what its receipts add up to; `measurement_receipts` writes them
    usable_cores, gpu_use what such a measurement finds out by itself
    callbacks     for the trainers of Transformers, Lightning and Keras

Nothing is imported here: metering must cost a job next to nothing, also at start. `measure` comes when it is
first used.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["measure"]

if TYPE_CHECKING:
    from ayni.footprint.measurement import measure


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'ayni.footprint' has no attribute {name!r}")
    from ayni.footprint.measurement import measure

    return measure


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted(__all__)

"""Energy, carbon and cost of every step: measured, attributed exactly, and signed.

    meters        the port `EnergyCounter`, the tiers of trust, and the value `EnergyEstimate`
    cascade       which counter this machine offers, best first
    wall_meter, rapl_counter, nvml_counter, amd_counter, modelled_counter      the counters
    combined_counters                 a sum, a rest, a component extended to the wall
    power_model   watts from CPU time, for machines without a sensor and for plans
    design_power, cpu_frequency       what a model may know of the processor
    node_model, calibrate             a model of this very node, and how it is made
    cpu_time      CPU seconds of the node and of the job, dead children included
    attribution   one window of energy -> jobs, others, idle; exact to the microjoule
    gpu_sharing   who uses a GPU that several jobs share
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
    verification  the checks that anybody can repeat from the files alone

Nothing is imported here: metering must cost a job next to nothing, also at start.
"""

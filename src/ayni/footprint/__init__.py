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
    carbon        grams of CO2e per kWh, by zone, with interval and basis
    receipts      signed records of what a step drew
    verification  the checks that anybody can repeat from the files alone

Nothing is imported here: metering must cost a job next to nothing, also at start.

Not covered: embodied carbon, water, hourly grid data.
"""

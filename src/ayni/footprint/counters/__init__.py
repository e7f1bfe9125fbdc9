"""What is read: energy counters of the wall, the hardware and models, best first.

    meters        the port `EnergyCounter`, the tiers of trust, and the value `EnergyEstimate`
    cascade       which counter this machine offers, best first
    wall_meter, rapl_counter, nvml_counter, amd_counter, modelled_counter      the counters
    combined_counters                 a sum, a rest, a component extended to the wall
    power_model   watts from CPU time, for machines without a sensor and for plans
    design_power, cpu_frequency       what a model may know of the processor
    node_model, calibrate             a model of this very node, and how it is made
    node_survey   every meter of this node: in use, refused and how to allow it, or not here
    gpu_use       whether a process computes on a GPU

Each file says what it does not cover.
"""

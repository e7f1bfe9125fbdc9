"""Windows of energy, each split among jobs, others and idle, exact to the microjoule.

    cpu_time, job_cgroup, usable_cores     CPU seconds of the node and of the job, dead children included
    attribution   one window of energy -> jobs, others, idle
    gpu_sharing   who uses a GPU that several jobs share
    reservations, reservation_folder   what the meters of one node tell each other, by files and locks
    reservation_shares                 idle power and GPUs, divided among what is reserved
    node_meter    the sampling thread that writes windows while a job runs
    window_file   the file of windows, and what they add up to

Each file says what it does not cover.
"""

"""Measuring what is no job: a block of Python, a function, any command.

    measurement   `with measure("name"):`, and a decorator; `open_measurements` keeps what is open
    run_command   any command, metered with all its processes; `command_signals`
    recording     one such measurement from its start to its receipts, in its `measurement_folder`
    measured_footprint    what its receipts add up to; `measurement_receipts` writes them

Each file says what it does not cover.
"""

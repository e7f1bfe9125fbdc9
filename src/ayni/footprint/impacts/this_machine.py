"""What making this machine took, from what the operating system shows of it.

Not covered: accelerators, and what its owner knows better (`embodied.declared_device`).
"""

import os

from ayni.footprint.counters.design_power import read_processor
from ayni.footprint.impacts.embodied import SERVER_YEARS, Device, undeclared_machine


def this_machine(lifetime_years: float = SERVER_YEARS) -> Device:
    """This machine as a device whose maker's figure nobody declared."""
    import psutil

    processor = read_processor()
    return undeclared_machine(
        num_processors=1 if processor is None else processor.num_sockets,
        num_cpus=os.cpu_count() or 1,
        memory_gigabytes=psutil.virtual_memory().total / 1e9,
        is_virtual=processor is not None and processor.is_virtual,
        lifetime_years=lifetime_years,
    )

"""ZigZag on a workload, in its own environment: ``run_zigzag.py WORKLOAD ACCELERATOR MAPPING RESULTS FOLDER``.

Its searches are as its interface has them if nothing else is said, for least latency. Results by layer are in FOLDER; two lines
of JSON in RESULTS: when the tool was imported, and at the end, with wall and CPU seconds.
"""

import json
import sys
import time
from pathlib import Path

from zigzag.api import get_hardware_performance_zigzag


def main(workload: str, accelerator: str, mapping: str, results: str, folder: str) -> None:
    """The whole workload."""
    with Path(results).open("a", encoding="utf-8", buffering=1) as file:
        print(json.dumps({"import_cpu_seconds": time.process_time()}), file=file)
        begin, cpu = time.perf_counter(), time.process_time()
        _, cycles, _ = get_hardware_performance_zigzag(
            workload, accelerator, mapping, opt="latency", dump_folder=folder, loma_show_progress_bar=False
        )
        spent = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({"cycles": round(float(cycles))} | spent), file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])

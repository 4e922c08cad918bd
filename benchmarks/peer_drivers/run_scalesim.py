"""SCALE-Sim on some layers, in its own environment: ``run_scalesim.py CONFIG RESULTS TOPOLOGY FOLDER [TOPOLOGY FOLDER …]``.

Each topology is simulated and its reports written below the folder after it; no traces. A line of JSON is added to RESULTS
when the tool is imported and after each topology: wall and CPU seconds.
"""

import json
import sys
import time
from pathlib import Path

from scalesim.scale_sim import scalesim


def main(config: str, results: str, *places: str) -> None:
    """One topology after the other; stopping in between loses only the one at work."""
    with Path(results).open("a", encoding="utf-8", buffering=1) as file:
        print(json.dumps({"import_cpu_seconds": time.process_time()}), file=file)
        for topology, folder in zip(places[::2], places[1::2], strict=True):
            begin, cpu = time.perf_counter(), time.process_time()
            tool = scalesim(save_disk_space=True, verbose=False, config=config, topology=topology, layout=topology)
            tool.run_scale(top_path=folder)
            spent = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}
            print(json.dumps({"topology": topology} | spent), file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])

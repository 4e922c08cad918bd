"""The control registers: one table, from which come the AXI4-Lite decoder, the driver, the C header and the docs page.

All registers are 32 bits wide; addresses are byte offsets. Counters and parameters are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from systola.hw.isa import ENGINES, Engine

__all__ = [
    "ADDRESS_BITS",
    "CLASS_BASE",
    "EVENT_BASE",
    "IDENTITY",
    "REGISTERS",
    "Control",
    "CycleClass",
    "Event",
    "Fault",
    "Irq",
    "Register",
    "Status",
    "class_address",
    "event_address",
]

IDENTITY = 0x5359_5354  # "SYST"
ADDRESS_BITS = 12  # the register window is 4 KiB


class Control(IntFlag):
    """Bits of CONTROL; both read as zero."""

    START = 1  # run the program; ignored while busy
    STOP = 2  # stop at once, as a fault would (Fault.STOPPED)


class Status(IntFlag):
    """Bits of STATUS."""

    BUSY = 1  # started and not finished; after a fault: transactions are still in flight
    DONE = 2  # the last program reached its END
    FAULT = 4  # the last program stopped on a fault; bits 15…8 hold the Fault


class Irq(IntFlag):
    """Bits of IRQ_ENABLE and IRQ_STATUS (written 1 to clear)."""

    DONE = 1
    FAULT = 2


class Fault(IntEnum):
    """Why a program stopped."""

    NONE = 0
    READ_RESPONSE = 1  # SLVERR or DECERR on a read; FAULT_ADDRESS is the burst's address
    WRITE_RESPONSE = 2  # SLVERR or DECERR on a write; FAULT_ADDRESS is the burst's address
    WATCHDOG = 3  # no instruction finished for WATCHDOG_CYCLES
    ILLEGAL_INSTRUCTION = 4  # FAULT_ADDRESS is the unit's byte offset in the stream of FAULT_ENGINE
    STOPPED = 5  # Control.STOP


class CycleClass(IntEnum):
    """What an engine does in a cycle; in each cycle between start and end each engine is in exactly one class."""

    IDLE = 0  # no instruction
    BUSY = 1  # its work moves on: a pixel, a word or a beat in this cycle
    WAIT_LOAD = 2  # its next instruction waits for the load engine
    WAIT_ARRAY = 3
    WAIT_DRAIN = 4
    WAIT_VECTOR = 5
    WAIT_STORE = 6
    BANK = 7  # refused by a scratchpad bank (or an accumulator half)
    DRAM_LATENCY = 8  # waits for the memory, and the bus stands still: no data beat for bus_bytes cycles or more
    WEIGHTS = 9  # array: the next weight tile is not loaded yet
    SETUP = 10  # loads records, weights or tables, or starts up
    FLUSH = 11  # its pipeline empties
    DRAM_BANDWIDTH = 12  # waits for the bus or the memory while data move


class Event(IntEnum):
    """What is counted for energy and bandwidth: accepted accesses since start."""

    ARRAY_PIXELS = 0  # pixels that entered the array (rows × columns multiply-accumulates each)
    ARRAY_PADDING = 1  # of these, padding positions (no scratchpad read)
    WEIGHT_READS = 2  # scratchpad words read by each user
    ACT_READS = 3
    DRAIN_READS = 4
    VECTOR_READS = 5
    STORE_READS = 6
    LOAD_WRITES = 7  # scratchpad words written by each user
    DRAIN_WRITES = 8
    VECTOR_WRITES = 9
    ACC_READS = 10  # accumulator words read, by array and drain
    ACC_WRITES = 11  # accumulator words written
    VECTOR_STEPS = 12  # window steps of the vector engine
    READ_BEATS = 13  # AXI beats
    WRITE_BEATS = 14
    READ_BURSTS = 15
    WRITE_BURSTS = 16
    FETCH_BEATS = 17  # of READ_BEATS, those of instructions


@dataclass(frozen=True)
class Register:
    """One register: byte ``address``; ``writable`` from the bus."""

    name: str
    address: int
    writable: bool
    meaning: str


REGISTERS = (
    Register("IDENTITY", 0x000, False, "0x53595354, \"SYST\""),
    Register("ISA_VERSION", 0x004, False, "version of the instruction set"),
    Register("FINGERPRINT", 0x008, False, "names the hardware parameters; an image carries the one it was made for"),
    Register("GEOMETRY", 0x00C, False, "bits 7…0 rows, 15…8 columns, 23…16 lanes, 31…24 bus bytes"),
    Register("CONTROL", 0x010, True, "Control bits"),
    Register("STATUS", 0x014, False, "Status bits"),
    Register("IRQ_ENABLE", 0x018, True, "Irq bits that raise the interrupt"),
    Register("IRQ_STATUS", 0x01C, True, "Irq bits pending; write 1 to clear"),
    Register("DRAM_BASE_LOW", 0x028, True, "bus address of DRAM offset 0, low half; a multiple of 64, the word and the beat"),
    Register("DRAM_BASE_HIGH", 0x02C, True, "high half"),
    Register("WATCHDOG_CYCLES", 0x030, True, "cycles without a finished instruction that stop the program; 0: never"),
    Register("FAULT_ADDRESS_LOW", 0x034, False, "bus address of the fault, low half"),
    Register("FAULT_ADDRESS_HIGH", 0x038, False, "high half"),
    Register("FAULT_ENGINE", 0x03C, False, "engine of the fault; 7: fetch or none"),
    Register("CYCLES_LOW", 0x040, False, "cycles from start to the end of the program, low half"),
    Register("CYCLES_HIGH", 0x044, False, "high half"),
    *(
        Register(f"FINISHED_{e.name}", 0x048 + 4 * e, False, f"instructions finished by the {e.name.lower()} engine (mod 2**16)")
        for e in ENGINES
    ),
    *(
        register
        for e in ENGINES
        for register in (
            Register(f"STREAM_ADDRESS_{e.name}", 0x060 + 8 * e, True,
                     f"byte offset of the {e.name.lower()} engine's stream from the DRAM base; a multiple of 64 and of the beat"),
            Register(f"STREAM_BYTES_{e.name}", 0x064 + 8 * e, True,
                     "its length, a multiple of the same; 0: it has no instructions"),
        )
    ),
)  # fmt: skip

CLASS_BASE = 0x100
EVENT_BASE = 0x300


def class_address(engine: Engine, cycle_class: CycleClass) -> int:
    """Byte address of the counter of cycles that ``engine`` spent in ``cycle_class``."""
    return CLASS_BASE + 4 * (16 * engine + cycle_class)


def event_address(event: Event) -> int:
    """Byte address of an event's counter."""
    return EVENT_BASE + 4 * event

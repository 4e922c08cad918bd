"""Post-processing of sums into int8 codes: what the drain and the vector engine share.

Stage A requantizes an int32 sum with a record per lane; stage B rescales a code with a slope for each sign, adds a
second operand and rounds again. Both compute exactly ``systola.hw.numerics.requantize`` and ``elementwise``, take a
word each cycle, have a fixed latency and never stall. Only their valid and swap bits are reset: data that no valid bit
accompanies is never used.
"""

from systola.hw.latencies import POST_LATENCY_CYCLES, STAGE_A_LATENCY_CYCLES, STAGE_B_LATENCY_CYCLES, SWAP_INTERVAL_CYCLES
from systola.hw.post.pipeline import PostPipeline, connect_post_config, post_config_layout
from systola.hw.post.queue import BLOCK_MEMORY, BlockQueue, RegisteredQueue
from systola.hw.post.records import RecordLoadSignature, RecordSet, record_words
from systola.hw.post.stage_a import RECORD_HOLD_CYCLES, StageA
from systola.hw.post.stage_b import StageB

__all__ = [
    "BLOCK_MEMORY",
    "POST_LATENCY_CYCLES",
    "RECORD_HOLD_CYCLES",
    "STAGE_A_LATENCY_CYCLES",
    "STAGE_B_LATENCY_CYCLES",
    "SWAP_INTERVAL_CYCLES",
    "BlockQueue",
    "PostPipeline",
    "RecordLoadSignature",
    "RecordSet",
    "RegisteredQueue",
    "StageA",
    "StageB",
    "connect_post_config",
    "post_config_layout",
    "record_words",
]

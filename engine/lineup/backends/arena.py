"""One block of memory for what large graphs compute on the CPU, shared by all their sessions.

A large graph asks for an activation of a hundred MiB and gives it back hundreds of times in a run.
From the system, every page of it comes anew and is cleared first; from one block, pages are touched
once in a process. SD-Turbo at 512 pixels on two cores, first and next runs: decoder 18.9 and 13.3 s
from the system (671 MiB), 13.2 and 12.9 s from the block (771 MiB); denoiser 8.8 and 5.2 s
(178 MiB), 5.5 and 5.2 s (173 MiB).

ONNX Runtime's arena hands out the smallest free stretch that is large enough. In one large block
neighbours that are free join again; in many small ones, as it makes them by itself, they do not:
1372 MiB for the same decoder.

The block is address space until it is touched. What was touched stays with the process: the next
graph, of whatever model, finds it there.
"""

from __future__ import annotations

from functools import cache

import onnxruntime as ort

BLOCK_BYTES = 1792 * 2**20
"""Below 2 GiB, which ONNX Runtime's settings can say. Graphs that need more get a second block."""

_GROW_BY_DOUBLING = 0
_DEFAULT = -1


def use_arena(settings: ort.SessionOptions) -> None:
    """Make a session on the CPU take its memory from the arena of this process."""
    _register()
    settings.enable_cpu_mem_arena = True
    settings.add_session_config_entry("session.use_env_allocators", "1")
    # With a pattern, ONNX Runtime would ask for a block for each run in place of its parts.
    settings.enable_mem_pattern = False


@cache
def _register() -> None:
    """Give ONNX Runtime the block, once; where the system refuses so much, it asks for less."""
    arena = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    cpu = ort.OrtMemoryInfo("Cpu", arena, 0, ort.OrtMemType.DEFAULT)
    settings = ort.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": _GROW_BY_DOUBLING,
            "initial_chunk_size_bytes": BLOCK_BYTES,
            "max_dead_bytes_per_chunk": _DEFAULT,
            "initial_growth_chunk_size_bytes": _DEFAULT,
        }
    )
    ort.create_and_register_allocator(cpu, settings)

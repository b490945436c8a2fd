"""Measuring a model or a lineup on this machine: latency, throughput, memory, power."""

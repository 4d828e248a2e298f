"""Timings as ratios of runs interleaved in one process; nothing here asserts a time."""

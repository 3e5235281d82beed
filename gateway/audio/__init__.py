"""Audio of a call: formats, G.711, resampling, loss concealment and the playout queue.

`codec`, `formats`, `libopus`, `loop` and `playout` are plain Python; the others need numpy. Import
the module you need.
"""

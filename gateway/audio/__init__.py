"""Audio of a call: formats, G.711, resampling, loss concealment and the playout queue.

`formats` and `playout` are plain Python; `g711`, `conceal` and `transcode` need numpy, and only
`transcode` loads FFmpeg. Import the module you need.
"""

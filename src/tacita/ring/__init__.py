"""The ring Z_2^64: native kernels, their slow twins, and what is built on them.

Numbers are `numpy.uint64`, and all arithmetic wraps around. Boolean values are bit planes (see
`kernels`). Everything here works on arrays alone: no sessions, no parties, no input or output.
"""

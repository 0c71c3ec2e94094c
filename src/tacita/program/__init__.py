"""Programs: instructions over numbered wires, and what an instruction must be able to tell.

Nothing here knows a concrete protocol, a thread or a network.
"""

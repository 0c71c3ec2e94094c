"""Other systems on the same networks, the same machine and in the same run as ours.

One file a peer. Each is run by the Python that has it, which may lack torch or Tacita, so a network
goes to it as a plain file (`portable`).
"""

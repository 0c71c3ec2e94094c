"""Running programs: the roles, what they send each other, and the session that ties them together.

Parties and dealer are the same code as threads of one process and, later, as daemons of their own.
"""

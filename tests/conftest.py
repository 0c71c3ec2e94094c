"""What all tests share: how hypothesis runs, and that no session outlives its test run."""

from hypothesis import settings

# Examples run on threads of other roles, on machines of unknown speed: no deadline for one of them.
settings.register_profile("tacita", deadline=None)
settings.load_profile("tacita")

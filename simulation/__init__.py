"""Ten thousand jobs in minutes: discrete events, the real policy, cost and reaper functions.

Nothing here sleeps or rents; nothing above `brightrun` is imported. `make simulate` runs it.
"""

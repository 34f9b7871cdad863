"""A device in virtual time, for `tools/simulate_power.py`.

What it draws, how warm it gets, what its sensors show, who wants runs, and who schedules them.
"""

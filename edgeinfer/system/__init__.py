"""What Linux tells of the machine: cores, clocks, temperatures, throttling. Standard library only.

Every reader takes what it is given: a file that is missing, forbidden, gone between listing and
reading, or full of something else is an unknown value, None, and never an exception.
"""

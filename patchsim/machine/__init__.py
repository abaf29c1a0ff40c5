"""What this machine has: memory, devices and threads.

It may use `geometry` and what lies below. Others use `budget` (sizes as people write them, what is
to spare), `devices` (which there are, what is free on them) and `threads.in_order`.
"""

"""Which memory, devices and threads this machine offers.

It may use `geometry` and the rooms below it. Other rooms use `memory` (sizes as people write
them, the free memory), `devices` (which devices exist, what is free on them) and
`threads.in_order`.
"""

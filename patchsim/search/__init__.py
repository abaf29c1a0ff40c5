"""Decides which windows or poses are scored, and scores them.

It may use `output`, `events`, `matches` and what lies below. Others use `exhaustive.Exhaustive`
(windows), `posed.Posed` (fitted poses), `fitted_windows.FittedWindows` (poses fitted from windows),
`jobs` (what is searched for) and `subpixel`.
"""

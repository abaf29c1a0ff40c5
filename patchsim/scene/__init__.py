"""How image and kernels become comparable: one type, one data range and one colour space.

It may use `options` and the rooms below it. Other rooms use `build.Scene`,
`comparison.Comparisons`, `color`, `masks` and `flatness`.
"""

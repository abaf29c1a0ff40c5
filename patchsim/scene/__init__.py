"""Image and kernels in one type, one range and one colour space, ready to be compared.

It may use `pictures`, `checks` and what lies below. Others use `build.Scene`, `color`, `masks`
and `flatness`.
"""

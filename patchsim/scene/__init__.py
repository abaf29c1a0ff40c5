"""What is compared: image and kernels in one type, one range and one colour space.

It may use `pictures`, `checks` and what lies below. Others use `build.Scene`, `color`, `masks`
and `flatness`.
"""

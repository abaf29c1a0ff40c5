"""The operators of the differentiable map, and their gradients on every device.

It may use `engines` and what lies below, and imports torch. Others, which is `similarity`, use
`operators` and `correlation`; the modules named `cuda_` are the fused kernels on NVIDIA cards.
"""

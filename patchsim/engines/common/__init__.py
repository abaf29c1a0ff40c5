"""What several engines do in the same way.

It may use the contract in `engines` and what lies below. Engines and `execution` use
`tile_cache.Shared`, what is made once of a tile, and `visibility`, what hidden pixels change.
"""

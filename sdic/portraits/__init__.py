"""The rendered domain: what is trained on portraits whose truth is known. Others know it by its name in a registry.

The renderer itself is in `sdic.data.portraits`.
"""

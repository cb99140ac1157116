"""The rendered domain: portraits drawn by our own renderer, pictures of people who do not exist, every parameter known.

``sample_params(seeds)`` draws portraits, ``render(params, size)`` draws their pictures, and
``render(params.replace(smile=1.0), size)`` the truth of an edit. :mod:`.splits` says which seeds train what,
:mod:`.write` makes data sets, :mod:`.truth` gives an evaluation pictures with the truth of their edits, :mod:`.tasks`
and :mod:`.build` train what ships. Nothing outside imports this package: its entry in `sdic.domains` names it.
"""

from .params import DETAIL_SWITCHES, FieldSpec, PortraitParams, field_spec, specs_of
from .renderer.draw import render
from .sampling import sample_params
from .splits import SPLITS, Split, get_split, split_params, split_seeds
from .vector import VECTOR_SIZE, params_to_vector, vector_layout, vector_to_params

__all__ = [
    "DETAIL_SWITCHES",
    "SPLITS",
    "VECTOR_SIZE",
    "FieldSpec",
    "PortraitParams",
    "Split",
    "field_spec",
    "get_split",
    "params_to_vector",
    "render",
    "sample_params",
    "specs_of",
    "split_params",
    "split_seeds",
    "vector_layout",
    "vector_to_params",
]

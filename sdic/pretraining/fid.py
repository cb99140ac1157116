"""The Fréchet distance of the generator's stage is that of `sdic evaluate`: one implementation, one scale."""

from sdic.evaluation.fid import Moments, frechet_distance, moments_of

__all__ = ["Moments", "frechet_distance", "moments_of"]

"""The folder runner behind `sdic invert` and `sdic edit`: find photos, skip what is done, work, write, report."""

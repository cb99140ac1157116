"""How a portrait is drawn: signed distances, spheres traced along rays, shading. `draw.render` is its one door."""

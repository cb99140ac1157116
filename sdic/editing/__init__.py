"""Directions: by name from `editings/manifest.yaml`, from files, or found in the generator itself."""

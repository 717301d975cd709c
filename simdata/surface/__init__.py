"""The cortical surface: spheres of the meshes, and resampling between them."""

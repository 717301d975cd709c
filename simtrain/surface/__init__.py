"""The cortical surface: patches, parcels, other meshes, and files of maps."""

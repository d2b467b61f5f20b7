"""From NIfTI files to arrays in memory: readers, checks, the common grid and its cache."""

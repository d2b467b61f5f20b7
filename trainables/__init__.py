"""What one trial computes: PyTorch and MONAI. Imports nothing of the other rooms."""

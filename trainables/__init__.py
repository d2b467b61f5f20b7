"""What one trial computes: PyTorch. Imports nothing of the other rooms."""

"""What a network shows of the subjects that it should have forgotten: measurements, whose meaning analysis/ tells."""

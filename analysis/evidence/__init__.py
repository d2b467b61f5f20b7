"""What the measurements of a network say about forgetting; each conclusion is a file of conclusions/."""

"""What a study leaves on disk, and what follows from it alone: the ground floor."""

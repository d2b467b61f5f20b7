"""Ray: started or joined, its nodes and what a trial gets of them, storage, and what happens to its head."""

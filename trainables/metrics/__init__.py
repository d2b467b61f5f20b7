"""One metric per file, collected by name as retain_<m>, forget_<m>, heldout_<m>."""

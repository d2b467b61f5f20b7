"""What people read: HTML pages, Markdown and the terminal's tables."""

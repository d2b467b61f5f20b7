"""What the tables show: data and one plotly figure a module."""

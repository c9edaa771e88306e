"""Figures: records in, plotly figures out. Knows nothing of models or the page."""

"""Training: data, the RRHF loss and loop, and the recipes of the adapters that are shipped. Needs peft; knows nothing
of the engine or the page."""

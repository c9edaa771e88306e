"""Training. `records` says what a training is told, `loop` runs one, and an objective (`rrhf`) is a dataset and a loss.

`session` carries out a job, `process` does so as a process, `jobs` starts and watches such processes. `careful`,
`magpie` and `verdicts` make the rows of the shipped adapters. Nothing here knows the page.
"""

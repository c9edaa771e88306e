"""Measures of answers: what refuses, what helps. Used everywhere the project says so."""

"""Measure a model on a data set: the quality and cost of every operating point of a grid."""

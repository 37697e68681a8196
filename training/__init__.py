"""The workshop: data, network, objectives, training, export. Needs torch (extra `train`); users of rtsep do not."""

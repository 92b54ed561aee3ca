"""From a trial to its row: training, probes, pending work. The only room that reads the fields of a Trial."""

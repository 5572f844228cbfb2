"""One file per model, each with a `Training`: its network, its batches, its loss, its measure."""

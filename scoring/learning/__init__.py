"""From labelled rows to a calibrated, chosen, honest model whose reasons are exact."""

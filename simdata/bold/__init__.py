"""One run of BOLD: from its file, checked, to values as the store keeps them."""

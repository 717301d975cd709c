"""What a trained model has to beat, and what it stands beside: ridge, PCA, and other subjects' BOLD."""

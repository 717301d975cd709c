"""What a trained model has to beat, and what it cannot: ridge regression, PCA, and the noise ceiling."""

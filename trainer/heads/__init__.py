"""One-class classifiers of features, one file each."""

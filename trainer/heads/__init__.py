"""One-class classifiers of stage 2, one file each."""

"""Few-shot data: loaders of Omniglot and mini-ImageNet, and episodes."""

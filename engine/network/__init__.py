"""The two-stream network "Locate and Verify" in PyTorch, for training and export: scanning does without."""

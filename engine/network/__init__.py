"""The two-stream "Locate and Verify" network in PyTorch: built, trained and exported from here, never needed to scan."""

"""Engines that run the network: ONNX Runtime by default, OpenVINO and torch where they are installed."""

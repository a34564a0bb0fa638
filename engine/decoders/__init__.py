"""What runs inside the sandbox child: probing, and decoding by PyAV or decord2 behind one protocol."""

"""The two object stores, S3 and a folder, and what reading over a network needs: retries and checks."""
